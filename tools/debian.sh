#!/usr/bin/env bash
# The Debian packages that building, tests and demo use; with the argument `run` only those that the server needs.
# Installs what is missing as root; otherwise prints the one line that does it and exits with 2.
set -eu
missing=()
want() { # PACKAGE TEST...
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
has_cjk_font() { find /usr/share/fonts -name '*CJK*' | grep -q .; }
has_compiler() { command -v cc && command -v c++; }
has_cmake() { command -v cmake; }
has_jdk() { command -v java && command -v javac; }
# rtmp2sink, an H.264 and an AAC encoder, and what stands between them
has_gstreamer() { command -v gst-launch-1.0 && command -v gst-inspect-1.0; }
has_element() { gst-inspect-1.0 --exists "$1"; }
has_ip() { command -v ip || [ -x /usr/sbin/ip ]; }
has_maven() { command -v mvn; }
has_nginx() { command -v nginx || [ -x /usr/sbin/nginx ]; }
has_rtmp_module() { [ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ]; }

want fonts-noto-cjk has_cjk_font
want build-essential has_compiler
want cmake has_cmake
if [ "${1:-}" != run ]; then
  want chromium sh -c 'command -v chromium || command -v chromium-browser || command -v google-chrome'
  want ffmpeg sh -c 'command -v ffmpeg && command -v ffprobe'
  want gstreamer1.0-tools has_gstreamer
  want gstreamer1.0-plugins-base has_element videotestsrc
  want gstreamer1.0-plugins-good has_element flvmux
  want gstreamer1.0-plugins-bad has_element rtmp2sink
  want gstreamer1.0-plugins-ugly has_element x264enc
  want default-jdk-headless has_jdk
  want maven has_maven
  want iproute2 has_ip
  want coturn sh -c 'command -v turnserver && command -v turnutils_uclient'
  want nginx has_nginx
  want libnginx-mod-rtmp has_rtmp_module
fi

[ ${#missing[@]} -gt 0 ] || exit 0
# Tests start servers of their own: a package's service must not take the port, now or at the next boot.
services=()
for service in nginx coturn; do
  case " ${missing[*]} " in *" $service "*) services+=("$service") ;; esac
done
if ! command -v apt-get >/dev/null; then
  echo "setup: please install: ${missing[*]}" >&2
  exit 2
fi
if [ "$(id -u)" != 0 ]; then
  echo "setup: some Debian packages are missing; please run this once and repeat:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  [ ${#services[@]} -eq 0 ] || echo "  sudo systemctl disable --now ${services[*]}   # tests start their own" >&2
  exit 2
fi
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null; }
if [ ${#services[@]} -gt 0 ]; then
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
fi
install 2>/dev/null || { apt-get update -q >/dev/null && install; }
if [ ${#services[@]} -gt 0 ] && command -v systemctl >/dev/null; then
  systemctl --quiet disable "${services[@]}" >/dev/null 2>&1 || true
fi
