#!/bin/sh
# The shop's versions on vLLM: one base on the GPU, a LoRA adapter for each version.
# Facts from docs.vllm.ai, "LoRA Adapters" and "Engine Arguments".
#
# Each adapter is a model of its own name, so a request names the version that is to answer it, and
# requests for several of them share a batch. vLLM knows nothing of stages, users or harm: the
# application asks the flag service (flags.flagd.yaml) which name is for whom, and passes it on as
# `model`. To roll back is to change the flag; both adapters stay loaded, so nothing is restarted.
#
# --max-loras      adapters in one batch; more wait for their turn
# --max-cpu-loras  adapters kept in memory beside those
# --max-lora-rank  the largest rank among them; larger than needed costs memory
# --lora-modules   NAME=PATH, or JSON with name, path and base_model_name; the last shows up as the
#                  parent in GET /v1/models
set -eu

exec vllm serve "${BASE:-meta-llama/Llama-3.1-8B-Instruct}" \
  --host 127.0.0.1 --port 8001 \
  --api-key "${VLLM_API_KEY:?set it}" \
  --enable-lora --max-loras 2 --max-cpu-loras 4 --max-lora-rank 16 \
  --lora-modules \
  '{"name": "shop-1", "path": "/models/shop-1", "base_model_name": "meta-llama/Llama-3.1-8B-Instruct"}' \
  '{"name": "shop-2", "path": "/models/shop-2", "base_model_name": "meta-llama/Llama-3.1-8B-Instruct"}'

# Another adapter may be put on without a restart, if the server was started with
# VLLM_ALLOW_RUNTIME_LORA_UPDATING=True:
#
#   curl -X POST http://127.0.0.1:8001/v1/load_lora_adapter \
#     -H "Authorization: Bearer $VLLM_API_KEY" -H "Content-Type: application/json" \
#     -d '{"lora_name": "shop-3", "lora_path": "/models/shop-3"}'
#   (and /v1/unload_lora_adapter with its lora_name)
#
# vLLM's own documentation calls that risky in production, and it is: whoever reaches the port can
# make the server read any path, and put other weights behind a name that has passed the gate. Leave
# it off where others can reach the port; start a second server with the new list instead, and move
# the traffic. Either way compare the digests with the registry's first: vLLM does not.
#
#   python -c "import sys; from helpers.rollout.registry import Registry; \
#     print(Registry(sys.argv[1]).verify('shop-2'), 'files are as registered')" shop.db
