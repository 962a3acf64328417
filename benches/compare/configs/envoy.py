"""Envoy."""

TYPE = "type.googleapis.com/envoy.extensions"


def text(job):
    servers = "\n".join(
        f"              - endpoint: {{address: {socket_address(backend)}}}"
        for backend in job.backends
    )
    return f"""\
admin:
  address: {socket_address(job.spare)}
static_resources:
  listeners:
    - name: bench
      address: {socket_address(job.port)}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: bench
                use_remote_address: true
                skip_xff_append: true{access_log(job)}{upgrades(job.setup.backends)}
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
                      "@type": {TYPE}.filters.http.router.v3.Router{downstream_tls(job.setup.tls)}
  clusters:
    - name: bench
      type: STATIC
      lb_policy: ROUND_ROBIN
      connect_timeout: 2s{upstream_protocol(job.setup.backends)}
      load_assignment:
        cluster_name: bench
        endpoints:
          - lb_endpoints:
{servers}
"""


def access_log(job):
    if not job.logs:
        return ""
    return f"""
                access_log:
                  - name: envoy.access_loggers.file
                    typed_config:
                      "@type": {TYPE}.access_loggers.file.v3.FileAccessLog
                      path: {job.folder}/access.log"""


def upgrades(backends):
    if backends != "websocket":
        return ""
    return """
                upgrade_configs: [{upgrade_type: websocket}]"""


def downstream_tls(tls):
    if not tls:
        return ""
    return f"""
          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": {TYPE}.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_params: {{tls_maximum_protocol_version: TLSv1_3}}
                tls_certificates:
                  - certificate_chain: {{filename: {tls.certificate}}}
                    private_key: {{filename: {tls.key}}}"""


def upstream_protocol(backends):
    if backends != "h2c":
        return ""
    return f"""
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": {TYPE}.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{http2_protocol_options: {{}}}}"""


def socket_address(port):
    return f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"
