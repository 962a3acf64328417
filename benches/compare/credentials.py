"""The certificate that all balancers show, and what their clients insist on."""

import collections
import ssl
import subprocess

import rig

Credentials = collections.namedtuple("Credentials", "certificate key both client")

# One cipher and one group, since what peers prefer differs: else a row would
# compare AES-128 with AES-256.
CLIENT = """\
openssl_conf = all
[all]
ssl_conf = sections
[sections]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""


def make(folder):
    """ECDSA on P-256, signed by itself; for OpenSSL's clients a configuration."""
    names = ("cert.pem", "key.pem", "both.pem", "client.cnf")
    made = Credentials(*(folder / name for name in names))
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-days", "30", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(made.key), "-out", str(made.certificate)),
    ]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise rig.Failed(f"no certificate: {done.stderr.decode()}")
    made.both.write_text(made.certificate.read_text() + made.key.read_text())
    made.client.write_text(CLIENT)
    return made


def context(alpn):
    """A client's side that asks for `alpn` and takes any certificate."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    ours.minimum_version = ssl.TLSVersion.TLSv1_3
    ours.set_alpn_protocols(alpn)
    return ours
