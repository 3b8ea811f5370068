"""Certificates for the tests: authorities, and what they have signed or revoked.

Real ones, made anew for each run (python3-cryptography), in PEM files.

SPDX-License-Identifier: ISC
"""
import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def new_key(kind='ec'):
    if kind == 'rsa':
        return rsa.generate_private_key(65537, 2048)
    if kind == 'ed25519':
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def name_of(cn, *more):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn), *more])


def alt_names(names):
    out = []
    for n in names:
        try:
            out.append(x509.IPAddress(ipaddress.ip_address(n)))
        except ValueError:
            out.append(x509.RFC822Name(n) if '@' in n else x509.DNSName(n))
    return x509.SubjectAlternativeName(out)


def write(path, data, mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, 'wb') as f:
        f.write(data)
    return path


def pem_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


class Cert:
    """A certificate and its key: .cert and .key are files."""

    def __init__(self, path, cert, key, chain=()):
        self.x509, self.private = cert, key
        pem = b''.join(c.public_bytes(serialization.Encoding.PEM) for c in (cert, *chain))
        self.cert = write(path + '.crt', pem)
        self.key = write(path + '.key', pem_key(key), 0o600)


class Authority:
    """Signs. .ca and .crl are files."""

    def __init__(self, folder, name, parent=None):
        self.folder, self.name, self.parent = folder, name, parent
        self.private = new_key()
        self.serial, self.revoked = 1, []
        self.x509 = self._sign(name_of(name), self.private.public_key(), parent or self, ca=True)
        self.ca = write(self._path('ca.crt'), self.x509.public_bytes(serialization.Encoding.PEM))
        self.write_crl()

    def _path(self, what):
        return os.path.join(self.folder, '%s-%s' % (self.name.replace(' ', '-'), what))

    def _sign(self, subject, public, issuer, ca=False, names=(), usage=None, days=(-1, 30), digest=None):
        now = datetime.datetime.utcnow()
        issuer.serial += 1
        b = x509.CertificateBuilder().subject_name(subject).public_key(public)
        b = b.issuer_name(issuer.x509.subject if issuer is not self or not ca else subject)
        b = b.serial_number(issuer.serial).not_valid_before(now + days[0] * DAY).not_valid_after(now + days[1] * DAY)
        b = b.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if names:
            b = b.add_extension(alt_names(names), critical=False)
        if usage:
            b = b.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return b.sign(issuer.private, digest or hashes.SHA256())

    def issue(self, name, cn, names=(), kind='ec', server=True, days=(-1, 30), more=(), digest=None):
        key = new_key(kind)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        cert = self._sign(name_of(cn, *more), key.public_key(), self, names=names, usage=usage, days=days,
                          digest=digest)
        return Cert(self._path(name), cert, key, chain=[self.x509] if self.parent else [])

    def server(self, name='server', names=('localhost', '127.0.0.1', '::1'), **kw):
        return self.issue(name, kw.pop('cn', 'localhost'), names=names, **kw)

    def client(self, cn, **kw):
        return self.issue('client-' + cn, cn, server=False, **kw)

    def revoke(self, cert):
        self.revoked.append(cert.x509.serial_number)
        self.write_crl()

    def write_crl(self):
        now = datetime.datetime.utcnow()
        b = x509.CertificateRevocationListBuilder().issuer_name(self.x509.subject)
        b = b.last_update(now - DAY).next_update(now + 30 * DAY)
        for serial in self.revoked:
            b = b.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(serial)
                                          .revocation_date(now - DAY).build())
        crl = b.sign(self.private, hashes.SHA256())
        self.crl = write(self._path('crl.pem'), crl.public_bytes(serialization.Encoding.PEM))
