"""Dask's command line, as `./run.sh dask` runs it.

Whoever can connect to a Dask scheduler or worker can run code there. So servers listen on this machine only by
default; on other addresses they need certificates, or the option `--insecure`.
"""

import copy
import json
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
import dask
from dask.cli import cli
from distributed.cli import dask_scheduler, dask_spec, dask_ssh, dask_worker
from distributed.comm.addressing import parse_host_port
from distributed.security import Security
from distributed.utils import get_ip_interface

from carvana.arguments import command
from carvana.cluster.certificates import write_certificates
from carvana.errors import UserError
from carvana.files import describe_os_error

_LOCAL_HOST = "127.0.0.1"
_ENCRYPTED_PROTOCOLS = {"tls", "wss"}
_DASHBOARDS = {"scheduler": f"{_LOCAL_HOST}:8787", "worker": f"{_LOCAL_HOST}:0"}
_CERTIFICATES = "certificates (`./run.sh dask certificates FILE` makes them, DASK_CONFIG=FILE uses them)"

Options = dict[str, Any]


def main() -> None:
    """Run the command line."""
    commands = {
        **cli.commands,
        "certificates": certificates,
        "scheduler": _secured(dask_scheduler.main, secure_scheduler),
        "worker": _secured(dask_worker.main, secure_worker),
        "ssh": _secured(dask_ssh.main, refuse),
        "spec": _secured(dask_spec.main, refuse),
    }
    try:
        settings = {"help_option_names": ["-h", "--help"]}
        click.Group("dask", commands, help=cli.help, context_settings=settings)(prog_name="./run.sh dask")
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {describe_os_error(error)}")
    except RuntimeError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        sys.exit(f"error: {error} {describe_os_error(error.__cause__)}")  # e.g. the port is in use


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def certificates(file: Path) -> None:
    """Write certificates for a cluster into FILE.

    With DASK_CONFIG=FILE, the scheduler, the workers and `--cluster` authenticate each other and encrypt all that
    they send. Whoever can read FILE can run code on all machines of the cluster.
    """
    write_certificates(file)
    print(f"{file}: written. On each machine of the cluster: export DASK_CONFIG={file.absolute()}")


def _secured(command: click.Command, secure: Callable[[Options, bool], None]) -> click.Command:
    """Return a command that runs with the options that `secure` has checked and changed."""

    def run(insecure: bool, **options: Any) -> None:
        secure(options, insecure)
        assert command.callback is not None
        command.callback(**options)

    secured = copy.copy(command)
    secured.callback = run
    secured.params = [copy.copy(parameter) for parameter in command.params]
    for parameter in secured.params:
        if parameter.name == "dashboard_address" and command.name in _DASHBOARDS:
            parameter.default = _DASHBOARDS[command.name]
    insecure = click.Option(
        ["--insecure"], is_flag=True, help="Let everyone who reaches the address run code here."
    )
    secured.params.append(insecure)
    return secured


def secure_scheduler(options: Options, insecure: bool) -> None:
    """Let a scheduler listen on this machine only, unless its options name a host and it has certificates.

    Args:
        options: values of the options of `dask scheduler`; changed in place.
        insecure: the user accepts that everyone who reaches the address can run code.

    Raises:
        UserError: the options need certificates, or `insecure`.
    """
    if not (options["host"] or options["interface"]):
        options["host"] = _LOCAL_HOST
    protocols = _protocols(options["host"]) | set(filter(None, (options["protocol"] or "").split(",")))
    if not protocols and _has_certificates("scheduler", options):
        options["protocol"] = "tls"
        protocols = {"tls"}
    _check("scheduler", protocols, options, options["host"], insecure)
    if options["jupyter"] and not _is_local(options["dashboard_address"]) and not insecure:
        raise UserError(
            f"--jupyter: everyone who reaches {options['dashboard_address']} could run code as you;"
            f" use --dashboard-address {_DASHBOARDS['scheduler']}, or add --insecure"
        )


def secure_worker(options: Options, insecure: bool) -> None:
    """Let a worker of a scheduler on this machine listen on this machine only, and others only with certificates.

    Args:
        options: values of the options of `dask worker`; changed in place.
        insecure: the user accepts that everyone who reaches the address can run code.

    Raises:
        UserError: the options need certificates, or `insecure`.
    """
    scheduler = options["scheduler"] or _address_in_file(options["scheduler_file"])
    scheduler = scheduler or dask.config.get("scheduler-address", None) or ""
    if not (scheduler or options["scheduler_file"]):
        raise UserError("worker: needs the address of a scheduler, e.g. tls://HOST:8786")
    host = options["host"] or options["listen_address"] or ""
    if not (host or options["interface"]) and _is_local(scheduler):
        options["host"] = host = _LOCAL_HOST
    protocols = _protocols(scheduler, host) | set(filter(None, [options["protocol"]]))
    _check("worker", protocols, options, host, insecure)


def _check(role: str, protocols: set[str], options: Options, host: str, insecure: bool) -> None:
    """Raise UserError if people who are not authenticated could connect from other machines."""
    encrypted = bool(protocols) and protocols <= _ENCRYPTED_PROTOCOLS
    if encrypted and not _has_certificates(role, options):
        raise UserError(f"{role}: {'/'.join(protocols)} needs {_CERTIFICATES}")
    if not (encrypted or insecure or _is_local(host, options["interface"])):
        raise UserError(
            f"{role}: without TLS, everyone who reaches its address could run code as you;"
            f" use tls:// with {_CERTIFICATES}, or add --insecure"
        )


def refuse(options: Options, insecure: bool) -> None:
    """Raise UserError unless the user accepts that everyone who reaches the servers can run code."""
    if not insecure:
        raise UserError(
            "this command starts servers without TLS, where everyone can run code as you; add --insecure"
        )


def _has_certificates(role: str, options: Options) -> bool:
    """Return whether a server has certificates, from its options or from Dask's settings."""
    fields = {"tls_ca_file": "tls_ca_file", "tls_cert": f"tls_{role}_cert", "tls_key": f"tls_{role}_key"}
    security = Security(**{field: options[name] for name, field in fields.items() if options[name]})
    try:
        return security.get_listen_args(role)["ssl_context"] is not None
    except OSError as error:  # includes errors of TLS
        raise UserError(f"the certificates of Dask's settings cannot be used: {error}") from None


def _protocols(*addresses: str) -> set[str]:
    return {address.split("://")[0] for address in addresses if "://" in address}


def _is_local(address: str, interface: str | None = None) -> bool:
    """Return whether an address, or all addresses of some network interfaces, are of this machine only."""
    try:
        hosts = [get_ip_interface(name) for name in interface.split(",")] if interface else [address]
        hosts = [parse_host_port(host.split("://")[-1], 0)[0] for host in hosts]
    except ValueError as error:
        raise UserError(str(error)) from None
    return all(host == "localhost" or _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _address_in_file(path: str | None) -> str:
    """Return the address in a scheduler file, or "" if there is no such file yet."""
    if not path or not Path(path).exists():
        return ""
    try:
        return json.loads(Path(path).read_text())["address"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{path}: not a scheduler file; {command('dask', 'scheduler', '--scheduler-file', path)} writes one"
        ) from None


if __name__ == "__main__":
    main()
