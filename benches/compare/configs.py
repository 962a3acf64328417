"""What each peer reads. As its manual advises for a proxy with kept connections."""

import rig

NGINX_GZIP = (
    "gzip on; gzip_comp_level 6; gzip_min_length 256; gzip_vary on; gzip_types application/json;"
)
# Where it is built with zlib this is level 6 too; with libslz, as in Debian,
# there is one level, which is faster and looser than zlib's first.
HAPROXY_GZIP = "    compression algo gzip\n    compression type application/json"
FILE_NAMES = {
    "evenkeel": "evenkeel.toml",
    "nginx": "nginx.conf",
    "haproxy": "haproxy.cfg",
    "traefik": "traefik.yml",
    "envoy": "envoy.yaml",
    "caddy": "Caddyfile",
}


def text(name, folder, port, spare, backends, logs, labels):
    """The file of this peer; empty where flags say all. Peers with a setup of
    their own are Evenkeel, nginx and HAProxy."""
    if name == "evenkeel":
        return evenkeel(labels)
    compress = "compress" in labels
    if name in ("nginx", "haproxy"):
        writer = {"nginx": nginx, "haproxy": haproxy}[name]
        return writer(folder, port, spare, backends, logs, compress)
    writers = {"traefik": traefik, "envoy": envoy, "caddy": caddy}
    return writers[name](folder, port, spare, backends, logs)


def evenkeel(labels):
    lines = [f'"{key}" = "{value}"' for key, value in labels.items()]
    return "\n".join(["[pools.bench]", *lines, ""]) if lines else ""


def nginx(folder, port, spare, backends, logs, compress):
    servers = " ".join(f"server 127.0.0.1:{backend};" for backend in backends)
    return f"""\
{rig.nginx_user()}
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ worker_connections 4096; }}
http {{
{rig.nginx_paths(folder)}
    access_log {f"{folder}/access.log combined" if logs else "off"};
    {NGINX_GZIP if compress else ""}
    keepalive_requests 1000000000;
    upstream bench {{ {servers} keepalive 256; keepalive_requests 1000000000; }}
    server {{ listen 127.0.0.1:{spare}; location / {{ stub_status; }} }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Real-IP $remote_addr;
        }}
    }}
}}
"""


def haproxy(folder, port, spare, backends, logs, compress):
    servers = "\n".join(
        f"    server s{number} 127.0.0.1:{backend}" for number, backend in enumerate(backends)
    )
    # It writes no files: its standard output is one.
    log = "    log stdout format raw local0\n    option httplog" if logs else "    no log"
    return f"""\
global
    tune.comp.maxlevel 6
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    http-reuse always
{log}
frontend metrics
    bind 127.0.0.1:{spare}
    http-request use-service prometheus-exporter
frontend bench
    bind 127.0.0.1:{port}
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Port %[dst_port]
    http-request set-header X-Real-IP %[src]
    default_backend servers
backend servers
    balance roundrobin
{HAPROXY_GZIP if compress else ""}
{servers}
"""


def traefik(folder, port, spare, backends, logs):
    servers = "\n".join(f'          - url: "http://127.0.0.1:{backend}"' for backend in backends)
    dynamic = folder / "dynamic.yml"
    dynamic.write_text(
        f"""\
http:
  routers:
    bench:
      rule: "PathPrefix(`/`)"
      entryPoints: [web]
      service: bench
  services:
    bench:
      loadBalancer:
        servers:
{servers}
"""
    )
    log = f"accessLog:\n  filePath: {folder}/access.log\n" if logs else ""
    return f"""\
global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: ERROR
entryPoints:
  web:
    address: "127.0.0.1:{port}"
  metrics:
    address: "127.0.0.1:{spare}"
metrics:
  prometheus:
    entryPoint: metrics
providers:
  file:
    filename: {dynamic}
{log}"""


def envoy(folder, port, spare, backends, logs):
    servers = "\n".join(
        f"              - endpoint: {{address: {socket_address(backend)}}}" for backend in backends
    )
    log = (
        f"""
                access_log:
                  - name: envoy.access_loggers.file
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
                      path: {folder}/access.log"""
        if logs
        else ""
    )
    return f"""\
admin:
  address: {socket_address(spare)}
static_resources:
  listeners:
    - name: bench
      address: {socket_address(port)}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: bench
                use_remote_address: true
                skip_xff_append: true{log}
                route_config:
                  request_headers_to_add:
                    # Its own would name the machine's address in place of loopback.
                    - header: {{key: X-Forwarded-For, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}
                    - header: {{key: X-Forwarded-Host, value: "%REQ(:AUTHORITY)%"}}
                    - header: {{key: X-Forwarded-Port, value: "%DOWNSTREAM_LOCAL_PORT%"}}
                    - header: {{key: X-Real-IP, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}
                  virtual_hosts:
                    - name: bench
                      domains: ["*"]
                      routes:
                        - match: {{prefix: "/"}}
                          route: {{cluster: bench}}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: bench
      type: STATIC
      lb_policy: ROUND_ROBIN
      connect_timeout: 2s
      load_assignment:
        cluster_name: bench
        endpoints:
          - lb_endpoints:
{servers}
"""


def socket_address(port):
    return f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"


def caddy(folder, port, spare, backends, logs):
    servers = " ".join(f"127.0.0.1:{backend}" for backend in backends)
    log = f"log {{\n        output file {folder}/access.log\n    }}" if logs else ""
    return f"""\
{{
    admin 127.0.0.1:{spare}
    auto_https off
    persist_config off
    metrics
    log default {{
        level ERROR
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    {log}
    reverse_proxy {servers} {{
        lb_policy round_robin
        header_up X-Forwarded-Port {{http.request.local.port}}
        header_up X-Real-IP {{http.request.remote.host}}
        transport http {{
            keepalive_idle_conns_per_host 256
            compression off
        }}
    }}
}}
"""
