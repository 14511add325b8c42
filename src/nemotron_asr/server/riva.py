"""Riva's gRPC at a port of its own, with gRPC's own health and reflection services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from nemotron_asr.errors import OptionError
from nemotron_asr.server.riva_calls import PROTOCOL, Recognition, handlers
from nemotron_asr.server.riva_messages import SERVICE, add_files
from nemotron_asr.server.service import Service
from nemotron_asr.server.settings import Settings
from nemotron_asr.server.sockets import bind, tls_context

GRACE = 1.0
"""Seconds that calls have to end when no stream is open any more."""

LOOK = 0.25
"""Seconds between two looks whether the server is ready."""

_MOST = (1 << 31) - 1
"""As much as gRPC can say."""

PING_MS = 20_000
"""Time between two looks whether the other side of a connection is still there."""


@asynccontextmanager
async def listen(service: Service) -> AsyncIterator[None]:
    """Listen as long as the context lasts."""
    settings = service.settings
    if settings.grpc_port < 0:
        yield
        return
    server = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=settings.max_connections)
    server.add_generic_rpc_handlers([handlers(Recognition(service))])
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection([SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME], server, _pool())
    service.ports[PROTOCOL] = _bind(server, settings)
    await server.start()
    telling = asyncio.create_task(_tell_health(service, status))
    try:
        yield
    finally:
        telling.cancel()
        await server.stop(GRACE)


async def _tell_health(service: Service, status: health.aio.HealthServicer) -> None:
    """Say, as long as the server runs, whether its models are warm."""
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    while True:
        for name in (health.OVERALL_HEALTH, SERVICE):
            await status.set(name, serving if service.ready else not_serving)
        await asyncio.sleep(LOOK)


def _pool() -> DescriptorPool:
    """What reflection shows."""
    pool = DescriptorPool()
    add_files(pool)
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(file.serialized_pb)
    return pool


def _options(settings: Settings) -> list[tuple[str, int]]:
    lasting = min(1000 * settings.max_session_seconds, _MOST)
    return [
        ("grpc.so_reuseport", 0),  # otherwise two servers share a port in silence
        ("grpc.max_receive_message_length", min(settings.max_upload_bytes, _MOST)),
        ("grpc.max_connection_age_ms", lasting),  # the end of a call waits behind what its client does not read
        ("grpc.max_connection_age_grace_ms", lasting),
        ("grpc.keepalive_time_ms", PING_MS),
        ("grpc.keepalive_timeout_ms", PING_MS),
        ("grpc.http2.ping_timeout_ms", PING_MS),  # a minute otherwise, whatever the line above says
        ("grpc.http2.min_recv_ping_interval_without_data_ms", PING_MS // 4),
    ]


def _bind(server: grpc.aio.Server, settings: Settings) -> int:
    """Listen; the port.

    Raises:
        OptionError: the address is not this machine's, or taken; a TLS file is not what it should be.
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address, credentials = f"{host}:{settings.grpc_port}", _credentials(settings)
    try:
        return server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError:  # which has no reason
        bind(settings.host, settings.grpc_port, "--grpc-port").close()
        raise OptionError(f"cannot listen at {settings.host}, port {settings.grpc_port}") from None


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    if tls_context(settings) is None:  # which looks at the files, too
        return None
    chain, key = (
        Path(path).read_bytes() for path in (settings.tls_certificate, settings.tls_key or settings.tls_certificate)
    )
    authorities = Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials([(key, chain)], authorities, require_client_auth=authorities is not None)
