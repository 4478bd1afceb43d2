from cri.api import checkpoint_pb2 as _checkpoint_pb2
from cri.api import container_pb2 as _container_pb2
from cri.api import events_pb2 as _events_pb2
from cri.api import metrics_pb2 as _metrics_pb2
from cri.api import sandbox_pb2 as _sandbox_pb2
from cri.api import stats_pb2 as _stats_pb2
from cri.api import status_pb2 as _status_pb2
from cri.api import streaming_pb2 as _streaming_pb2
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor
