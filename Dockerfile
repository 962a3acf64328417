# Two ways to the same image: around a binary built on the host
# (`docker build --target prebuilt .`, what `make image` does), or all of it in
# here (`docker build .`). The classic builder runs every stage up to its
# target, so what needs no registry comes first.

FROM scratch AS nothing
WORKDIR /nothing

FROM scratch AS settings
LABEL org.opencontainers.image.title="Evenkeel" \
      org.opencontainers.image.description="A load balancer for Docker: label a service, scale it, watch traffic rebalance" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
# The default of `--state`. A new volume there takes its owner from this folder,
# so that it can be written also where the container never was root.
COPY --from=nothing --chown=65532:65532 /nothing /var/lib/evenkeel
# It starts as root to open the socket, whatever its group, and then becomes
# this user. Admin listens beyond loopback so that its port can be published.
# The path is for `docker exec lb evenkeel status`.
# Huge pages, which some machines give to all, would fill what buffers of
# connections at rest leave untouched; and what was freed goes back within 100 ms,
# since a wave of clients would else keep its memory.
ENV PATH=/ EVENKEEL_USER=65532 EVENKEEL_ADMIN=0.0.0.0:9090 MIMALLOC_ALLOW_THP=0 \
    MIMALLOC_PURGE_DELAY=100
# Only this port, and no HEALTHCHECK: `whoami` runs from the same image, and a
# backend with one exposed port and no verdict to wait for needs one label.
EXPOSE 80
ENTRYPOINT ["/evenkeel"]

FROM settings AS prebuilt
# The star lets the classic builder pass this stage where nothing is prebuilt.
COPY LICENSE-APACHE LICENSE-MIT dist/evenkeel* /

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# `--target` keeps the flag from build scripts and procedural macros, which
# cannot be static.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS="-C target-feature=+crt-static" \
       cargo build --release --locked --bin evenkeel --target "$target" \
    && cp "target/$target/release/evenkeel" /evenkeel

FROM settings
COPY LICENSE-APACHE LICENSE-MIT /
COPY --from=build /evenkeel /
