"""CRI, `runtime.v1`: every message and enum by its own name, and the two services; and our own, `crisp.doctor.v1`.

The protocol has more names than anyone wants to import one by one: callers write `api.RunPodSandboxRequest`.
"""

from __future__ import annotations

from google.protobuf.descriptor import ServiceDescriptor

from cri.api import doctor_pb2, image_service_pb2, runtime_service_pb2
from cri.api.checkpoint_pb2 import *  # noqa: F403
from cri.api.common_pb2 import *  # noqa: F403
from cri.api.container_pb2 import *  # noqa: F403
from cri.api.doctor_pb2 import *  # noqa: F403
from cri.api.events_pb2 import *  # noqa: F403
from cri.api.filesystem_pb2 import *  # noqa: F403
from cri.api.image_pb2 import *  # noqa: F403
from cri.api.linux_pb2 import *  # noqa: F403
from cri.api.metrics_pb2 import *  # noqa: F403
from cri.api.pod_pb2 import *  # noqa: F403
from cri.api.sandbox_pb2 import *  # noqa: F403
from cri.api.stats_pb2 import *  # noqa: F403
from cri.api.status_pb2 import *  # noqa: F403
from cri.api.streaming_pb2 import *  # noqa: F403
from cri.api.windows_pb2 import *  # noqa: F403

RUNTIME_SERVICE: ServiceDescriptor = runtime_service_pb2.DESCRIPTOR.services_by_name["RuntimeService"]
IMAGE_SERVICE: ServiceDescriptor = image_service_pb2.DESCRIPTOR.services_by_name["ImageService"]
DOCTOR: ServiceDescriptor = doctor_pb2.DESCRIPTOR.services_by_name["Doctor"]
