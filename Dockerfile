# The toolbox's image: what the temporary task runs.
FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/toolbox
COPY locks/runtime.txt /tmp/runtime.txt
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    /opt/toolbox/bin/pip install --no-cache-dir --require-hashes -r /tmp/runtime.txt
COPY toolbox /opt/toolbox/src/toolbox
RUN echo /opt/toolbox/src > "$(/opt/toolbox/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tracker-toolbox.pth" \
    && /opt/toolbox/bin/python -m compileall -q /opt/toolbox \
    && printf '#!/bin/sh\nexec /opt/toolbox/bin/python -I -m toolbox "$@"\n' > /opt/toolbox/bin/toolbox \
    && chmod +x /opt/toolbox/bin/toolbox

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 ca-certificates bash postgresql-client redis-tools curl less procps iproute2 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/toolbox /opt/toolbox
COPY entrypoint.sh /usr/local/bin/entrypoint.sh
RUN ln -s /opt/toolbox/bin/toolbox /usr/local/bin/toolbox && mkdir -p /scripts
ENV TOOLBOX_TASK=1 LANG=C.UTF-8
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
