#!/usr/bin/env bash
# Install the Debian packages that Crisp and its tests use and this machine lacks; say which.
set -euo pipefail
declare -A PACKAGE=(
  [crun]=crun [runc]=runc [containerd]=containerd [/usr/lib/cni/bridge]=containernetworking-plugins
  [/bin/busybox]=busybox-static [docker-registry]=docker-registry [ip]=iproute2 [nft]=nftables [iptables]=iptables
  [openssl]=openssl [git]=git
)
missing=()
for tool in "${!PACKAGE[@]}"; do
  command -v "$tool" >/dev/null || [[ -x $tool ]] || missing+=("${PACKAGE[$tool]}")
done
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
  echo "== Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
