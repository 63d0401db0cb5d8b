# The command line in a container: `make image` builds it from the release's wheel, with locked versions and hashes of all libraries.
#
# To pin the base by its content as well: docker build --build-arg BASE=python:3.13-slim@sha256:… (its digest changes with each fix of Debian).
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
COPY locks/requirements-image.txt dist/pulumi_snapshots-*.whl /build/
RUN python3 -m venv /opt/squarecloud \
    && /opt/squarecloud/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes --requirement /build/requirements-image.txt \
    && /opt/squarecloud/bin/pip install --no-cache-dir --no-compile --no-deps /build/pulumi_snapshots-*.whl \
    && /opt/squarecloud/bin/pip uninstall --yes pip

FROM ${BASE}
COPY --from=build /opt/squarecloud /opt/squarecloud
# What is in the image, as CycloneDX.
COPY dist/squarecloud-snapshots-image-*.cdx.json /usr/share/doc/squarecloud-snapshots/
RUN install --directory --owner 10001 --group 10001 --mode 700 /state
ENV PATH=/opt/squarecloud/bin:$PATH \
    HOME=/state \
    XDG_STATE_HOME=/state \
    PYTHONDONTWRITEBYTECODE=1
VOLUME /state
# No user of the host: one that may only write its own state.
USER 10001:10001
ENTRYPOINT ["squarecloud-snapshots"]
CMD ["--help"]
