"""A certificate of the server's own, which is its own CA: clients send no credentials over plain
HTTP, and a hub at the edge cannot always ask a cluster to sign one."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_LIFE = datetime.timedelta(days=3650)
_RENEW = datetime.timedelta(days=365)  # before its end: clients have that long to learn the new one


def own_certificate(directory: Path, host: str, wall: float) -> tuple[Path, Path]:
    """Files of certificate (which is its own CA) and key, made where they are not there or old."""
    certificate, key = directory / "serving.crt", directory / "serving.key"
    now = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    if not (key.is_file() and certificate.is_file() and _is_good(certificate, host, now)):
        secret, public = _made(host, now)
        keep_secret(key, secret)
        certificate.write_bytes(public)
    return certificate, key


def _is_good(file: Path, host: str, now: datetime.datetime) -> bool:
    held = x509.load_pem_x509_certificate(file.read_bytes())
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return _name(host) in list(names) and now < held.not_valid_after_utc - _RENEW


def _made(host: str, now: datetime.datetime) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "atoll embedded API server")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + _LIFE)
    for extension, is_critical in _extensions(host, key.public_key()):
        builder = builder.add_extension(extension, is_critical)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    signed = builder.sign(key, hashes.SHA256())
    return secret, signed.public_bytes(serialization.Encoding.PEM)


def _extensions(host: str, key: ec.EllipticCurvePublicKey) -> list[tuple[x509.ExtensionType, bool]]:
    names = dict.fromkeys([_name(host), _name("127.0.0.1"), *map(_name, _NAMES)])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName(names), False),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key), False),
    ]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def keep_secret(file: Path, text: bytes) -> None:
    """Written whole, and only its owner may read it."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)
