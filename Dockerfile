# The environment of the study in one image; it works on a checkout mounted at /study.
#   docker build -t armature:cuda .                        CUDA: requirements.lock with its hashes
#   docker build -t armature:cpu --build-arg TORCH=cpu .   the same versions, no CUDA packages
# Behind a package mirror: --secret id=pip,src=pip.conf passes a pip configuration to the build.
# The base has no CUDA: torch's wheels contain CUDA 13.0, and the host provides the driver.
# The quick studies in git were computed on Python 3.11. Pin the base with
# --build-arg BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm@sha256:...
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

# git: DVC and the record of a run need it. tini: forwards signals to the whole group and reaps zombies.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log

# Dependencies first: this layer is built again only when a requirement changes. Development tools
# are left out (tools/container/development.txt): 0.6 GB.
ARG TORCH=cuda
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /opt/armature
COPY requirements.lock requirements-cpu.txt ./
COPY tools/container/runtime.py tools/container/development.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    case "${TORCH}" in \
    cuda) file=requirements.lock; option=--require-hashes ;; \
    cpu) file=requirements-cpu.txt; option="${CPU_INDEX:+--extra-index-url ${CPU_INDEX}}" ;; \
    *) echo "TORCH is '${TORCH}'; accepted: cuda, cpu" >&2; exit 2 ;; \
    esac \
    && { echo "${option}"; python3 runtime.py "${file}" development.txt; } > installed.txt \
    && python3 -m venv . \
    && bin/pip install --no-cache-dir -r installed.txt

# Any numeric user can work here: a home that everyone can write to, user names for numeric ids, and
# permission for git to read a checkout of another owner at /study. Ubuntu images have a user 1000.
RUN useradd --uid 1000 --non-unique --no-create-home --home-dir /home/study study \
    && mkdir -m 1777 /home/study /cache \
    && git config --system --add safe.directory /study
ENV PATH=/opt/armature/bin:${PATH} \
    HOME=/home/study \
    USER=study \
    LOGNAME=study \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The code as it was built: an image without a mount shows the stored results but cannot compute.
COPY . /study
WORKDIR /study
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e /study \
    && pip check \
    && chmod -R a+rX /study \
    && install -D -m 644 tools/container/dvc-config /opt/armature/dvc-on-cache/config \
    && install -m 755 tools/container/entry /opt/armature/entry \
    && install -m 644 tools/container/healthy.py /opt/armature/healthy.py

USER 1000:1000
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/opt/armature/healthy.py"]
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "/opt/armature/entry"]
CMD ["python", "-m", "streamlit", "run", "app/main.py", "--server.headless=true"]
