"""What W&B needs to work, its server and its own process: whether the one answers, and how to be rid of the other."""

import os
import threading
from contextlib import suppress
from typing import Any

_PROCESS = "wandb-core"


def check_server(seconds: float) -> None:
    """Looks whether somebody is logged in and the server answers, without asking anyone.

    Args:
        seconds: how long to wait for the server.

    Raises:
        ConnectionError: not so.
    """
    import requests
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib import wbauth

    settings = wandb_setup.singleton().settings  # which starts nothing
    keys = os.environ.get("WANDB_API_KEY"), os.environ.get("WANDB_IDENTITY_TOKEN_FILE"), settings.api_key
    if not any(keys) and not wbauth.read_netrc_auth(host=settings.base_url):
        raise ConnectionError("nobody is logged in, see `wandb login`")
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy}
    answers = threading.Event()

    def ask() -> None:
        try:
            response = requests.get(
                settings.base_url,
                timeout=seconds,
                proxies={scheme: proxy for scheme, proxy in proxies.items() if proxy},
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.SSLError:  # an answer, too: W&B has settings of its own for certificates
            answers.set()
        except Exception:
            return
        else:
            with response:
                if response.status_code < 500:  # a proxy says so for a server that it cannot reach
                    answers.set()

    # The name of a server may take any time to be looked up.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers.is_set():
        raise ConnectionError(f"{settings.base_url} does not answer")


def end_service() -> None:
    """Kills W&B's own process, and takes back what W&B left to do at exit, which would wait for that process."""
    import psutil

    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.name().startswith(_PROCESS):
                child.kill()
    thread = threading.Thread(target=_tear_down_dead, daemon=True)
    thread.start()
    thread.join(2)


def tear_down() -> None:
    """Has W&B's own process end, with all on the disk then, and waits for it.

    Raises:
        Exception: the process could not be told so, or failed; SystemExit, too.
    """
    from wandb.sdk import wandb_setup

    # None where nothing was started, or by somebody else.
    process: Any = getattr(wandb_setup.singleton()._connection, "_proc", None)
    try:
        wandb_setup.teardown()
    finally:
        if process is not None:
            process.join()  # which an error leaves out


def _tear_down_dead() -> None:
    with suppress(BaseException):
        tear_down()
