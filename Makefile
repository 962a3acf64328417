# Every target does its own set-up; see scripts/ for what they do.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test lint bench latency churn hostile bench-peers image

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Run the balancer and three replicas on localhost:8000
	@scripts/demo

demo-down: ## Remove everything that `make demo` started
	@scripts/demo-down

image: ## Build the container image evenkeel:latest
	@scripts/image

test: ## Run every test, those on the Docker Engine too
	@scripts/test

lint: ## Check formatting, lints, documentation and licences
	@scripts/lint

bench: ## Compare CPU, throughput and latency with the peers; writes docs/BENCHMARKS.md
	@scripts/bench

latency: image ## Measure how soon a new replica gets its first request
	@scripts/latency

churn: ## Prove that nothing is lost while replicas come and go; writes docs/CHURN.md
	@scripts/churn

hostile: ## Measure memory and latency under ten thousand hostile connections, and at rest
	@scripts/hostile

bench-peers: ## Install nginx, HAProxy, Traefik, Envoy and Caddy for `make bench`
	@scripts/bench-peers
