from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class VerifyRequest(_message.Message):
    __slots__ = ("repair",)
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    repair: bool
    def __init__(self, repair: _Optional[bool] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("image", "subject", "problem", "repaired", "reason")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    image: str
    subject: str
    problem: str
    repaired: bool
    reason: str
    def __init__(self, image: _Optional[str] = ..., subject: _Optional[str] = ..., problem: _Optional[str] = ..., repaired: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...
