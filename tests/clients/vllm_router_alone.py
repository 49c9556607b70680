"""vllm-router 0.1.17, started as its own launcher does, less the load balancer in Python that is not used here (and what that needs)."""

import argparse

from vllm_router.router import Router
from vllm_router.router_args import RouterArgs

parser = argparse.ArgumentParser()
RouterArgs.add_cli_args(parser)
Router.from_args(RouterArgs.from_cli_args(parser.parse_args())).start()
