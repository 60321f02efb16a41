# PostgreSQL's official image with pg_once. Built with
#   docker build --build-arg PG=18 -t pg_once:18 .
# PG is 15 to 19, DEBIAN the Debian release of the image.
# Where pg_once is developed it was built by buildah with PG=15, on Debian's own PostgreSQL 15 in place of the official image
# and with a toolchain in place of what rustup downloads: neither can be reached from there.
ARG PG=18
ARG DEBIAN=bookworm

FROM postgres:${PG}-${DEBIAN} AS build
ARG PG
RUN apt-get update && apt-get install -y --no-install-recommends \
        build-essential ca-certificates clang curl git libclang-dev libssl-dev make pkg-config zlib1g-dev \
        "postgresql-server-dev-${PG}"
ENV PATH=/root/.cargo/bin:$PATH
RUN curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain 1.96
COPY . /src
WORKDIR /src
RUN export "PG_CONFIG_${PG}=/usr/lib/postgresql/${PG}/bin/pg_config" && make package PG="${PG}"

FROM postgres:${PG}-${DEBIAN}
ARG PG
COPY --from=build /src/target/package/*.deb /tmp/
RUN dpkg -i "/tmp/postgresql-${PG}-pg-once_"*.deb && rm /tmp/*.deb
CMD ["postgres", "-c", "shared_preload_libraries=pg_once"]
