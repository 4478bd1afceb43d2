from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PullProgress(_message.Message):
    __slots__ = ("image", "layers", "ended")
    class Layer(_message.Message):
        __slots__ = ("digest", "phase", "offset", "size", "rate", "host")
        DIGEST_FIELD_NUMBER: _ClassVar[int]
        PHASE_FIELD_NUMBER: _ClassVar[int]
        OFFSET_FIELD_NUMBER: _ClassVar[int]
        SIZE_FIELD_NUMBER: _ClassVar[int]
        RATE_FIELD_NUMBER: _ClassVar[int]
        HOST_FIELD_NUMBER: _ClassVar[int]
        digest: str
        phase: str
        offset: int
        size: int
        rate: int
        host: str
        def __init__(self, digest: _Optional[str] = ..., phase: _Optional[str] = ..., offset: _Optional[int] = ..., size: _Optional[int] = ..., rate: _Optional[int] = ..., host: _Optional[str] = ...) -> None: ...
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    image: str
    layers: _containers.RepeatedCompositeFieldContainer[PullProgress.Layer]
    ended: bool
    def __init__(self, image: _Optional[str] = ..., layers: _Optional[_Iterable[_Union[PullProgress.Layer, _Mapping]]] = ..., ended: _Optional[bool] = ...) -> None: ...
