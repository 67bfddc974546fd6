"""The certificate of the hub's TLS port: files that the site file names, or one of the hub's own.

Its own has a CA beside it, which pods trust: the certificate is replaced long before its end while
the CA stays; when the CA itself is replaced, the file has the old one, too, for who trusts it yet.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from actors.kube.serve.certificate import keep_secret

DAY = datetime.timedelta(days=1)
CA_LIFE, CA_RENEW = 3650 * DAY, 400 * DAY  # longer than a certificate's life: none outlives its CA
LIFE, RENEW = 365 * DAY, 120 * DAY  # a node may be off for months, and its clock may be wrong
# As pods know their API server, by the DNS names of its Service.
NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
)


@dataclass(frozen=True)
class Files:
    """PEM. `chain` and `key` for the server, `ca` for its clients (None: they know it already)."""

    chain: Path
    key: Path
    ca: Path | None = None

    def contents(self) -> tuple[bytes, bytes]:
        """To see whether they have changed. Raises OSError."""
        return self.chain.read_bytes(), self.key.read_bytes()


@dataclass(frozen=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class OwnCertificate:
    """Under `directory`, which only we read; `ca` is for others."""

    def __init__(self, directory: Path, ca: Path, names: Sequence[str]) -> None:
        self._directory = directory
        self._names = [_name(each) for each in dict.fromkeys((*names, *NAMES))]
        self.files = Files(directory / "serving.crt", directory / "serving.key", ca)

    def ensure(self, wall: float) -> Files:
        """Good for a while from now on; what is missing, damaged or old is made anew.

        Raises OSError.
        """
        self._directory.mkdir(mode=0o700, exist_ok=True)
        now = datetime.datetime.fromtimestamp(wall, datetime.UTC)
        ca = self._ca(now)
        held = _load(self.files.chain, self.files.key)
        if held is None or not self._is_good(held, ca, now):
            made = _made(ca, self._names, now)
            keep_secret(self.files.key, _private(made))  # a power cut between: both anew
            _replace(self.files.chain, _public(made.certificate))
        return self.files

    def _ca(self, now: datetime.datetime) -> _Pair:
        file, key = self._directory / "ca.crt", self._directory / "ca.key"
        held = _load(file, key)
        if held is None or not _lasts(held.certificate, now, CA_RENEW):
            former = (
                [held.certificate] if held is not None and _lasts(held.certificate, now) else []
            )
            held = _made(None, [], now)
            keep_secret(key, _private(held))
            _replace(file, b"".join(map(_public, (held.certificate, *former))))
        assert self.files.ca is not None
        told = file.read_bytes()
        if not self.files.ca.is_file() or self.files.ca.read_bytes() != told:
            _replace(self.files.ca, told)
        return held

    def _is_good(self, held: _Pair, ca: _Pair, now: datetime.datetime) -> bool:
        certificate = held.certificate
        try:
            certificate.verify_directly_issued_by(ca.certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        return _lasts(certificate, now, RENEW) and set(self._names) <= set(names.value)


def _lasts(
    certificate: x509.Certificate,
    now: datetime.datetime,
    still: datetime.timedelta = datetime.timedelta(0),
) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - still


def _load(certificate: Path, key: Path) -> _Pair | None:
    """None for what is not there, damaged, or does not belong together."""
    try:
        held = x509.load_pem_x509_certificate(certificate.read_bytes())
        secret = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError):
        return None
    is_ours = isinstance(secret, ec.EllipticCurvePrivateKey)
    if not is_ours or secret.public_key() != held.public_key():
        return None
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    return _Pair(held, secret)


def _made(ca: _Pair | None, names: Sequence[x509.GeneralName], now: datetime.datetime) -> _Pair:
    """A server's certificate, or without `ca` such a one itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The time in it: two CAs of one name would be taken for one another.
    what = "atoll hub" if ca is not None else f"atoll hub CA {now:%Y-%m-%dT%H:%M:%S}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, what)])
    issuer = ca.certificate.subject if ca is not None else name
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - DAY)  # its clients' clocks may be behind
    builder = builder.not_valid_after(now + (CA_LIFE if ca is None else LIFE))
    signing = ca.key if ca is not None else key
    for extension, is_critical in _extensions(ca, names, key.public_key(), signing.public_key()):
        builder = builder.add_extension(extension, is_critical)
    return _Pair(builder.sign(signing, hashes.SHA256()), key)


def _extensions(
    ca: _Pair | None,
    names: Sequence[x509.GeneralName],
    key: ec.EllipticCurvePublicKey,
    issuer: ec.EllipticCurvePublicKey,
) -> list[tuple[x509.ExtensionType, bool]]:
    is_ca = ca is None
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    common: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), True),
        (usage, True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False),
    ]
    if is_ca:
        return common
    return [
        *common,
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName(names), False),
    ]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(pair: _Pair) -> bytes:
    return pair.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _replace(file: Path, text: bytes) -> None:
    """Whole or not at all; anybody may read it."""
    keep_secret(file, text)
    file.chmod(0o644)
