"""Build the container image with the first container engine found (`make image`).

Standard library only.

    python3 tools/image.py [auto|cpu|cuda] [build options]
"""

import shutil
import subprocess
import sys

from setup import ROOT, detect

ENGINES = ("docker", "podman", "buildah")
ACCEPTED = ("auto", "cpu", "cuda")


def main(arguments: list[str]) -> int:
    wanted = arguments[0] if arguments else "auto"
    if wanted not in ACCEPTED:
        return refuse(f"TORCH is {wanted!r}; accepted: {', '.join(ACCEPTED)}")
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        return refuse(
            f"none of {', '.join(ENGINES)} is on the PATH. Install one of them, or run without a "
            "container: make setup"
        )
    torch = detect() if wanted == "auto" else wanted
    tag = f"armature:{torch}"
    print(f"image: building {tag} with {engine}", flush=True)
    done = subprocess.run(command(engine, torch, tag, arguments[1:]), cwd=ROOT, check=False)
    if done.returncode:
        return refuse(f"{engine} could not build {tag} (see above), exit code {done.returncode}")
    print(f"image: built {tag}; see docs/deployment.md")
    return 0


def command(engine: str, torch: str, tag: str, more: list[str]) -> list[str]:
    # The OCI format, the default of podman and buildah, drops the HEALTHCHECK.
    kept = [] if engine == "docker" else ["--format", "docker"]
    return [engine, "build", *kept, "--build-arg", f"TORCH={torch}", "-t", tag, *more, "."]


def refuse(sentence: str) -> int:
    print(f"image: {sentence}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
