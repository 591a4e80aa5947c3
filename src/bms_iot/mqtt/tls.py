"""What a TLS connection to the broker is verified against, and what we show it."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from bms_iot.errors import ConfigurationError


class _Socket(ssl.SSLSocket):
    """Closed when the handshake fails, which paho leaves to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (OSError, ValueError):
            self.close()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS towards the broker: PEM files. Without `ca_certificate` the system's roots are trusted; a certificate needs its key."""

    ca_certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Verifies certificate and host name, TLS 1.2 at least. Raises ConfigurationError that names the file."""
        context = ssl.create_default_context() if self.ca_certificate is None else _trusting(self.ca_certificate)
        context.sslsocket_class = _Socket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.client_certificate is not None:
            try:
                # An encrypted key would be asked for on the terminal, where nobody is.
                context.load_cert_chain(self.client_certificate, self.client_key, password="")
            except (OSError, ValueError) as error:
                raise ConfigurationError(
                    f"the client certificate {self.client_certificate} with key {self.client_key} cannot be used: {error}",
                    hint="both are PEM files, the key without a passphrase and readable by this user",
                ) from None
        return context


def _trusting(ca_certificate: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_certificate)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the CA certificate {ca_certificate} cannot be used: {error}", hint="a PEM file") from None
