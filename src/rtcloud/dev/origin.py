"""The configuration of a small streaming origin: nginx with Debian's RTMP module. Pure.

Everything that it writes lies below one directory. Nothing is executed for a stream, no address needs a key, and there
is no limit on who may push: it is for a developer's own machine. Players begin at a keyframe (``wait_key``), so that
what they record can be decoded from its first picture.
"""

from dataclasses import dataclass
from pathlib import Path

#: Below the directory; nginx must be able to write them.
FOLDERS = ("hls", "page", "temporary")
APPLICATION = "live"


@dataclass(frozen=True, slots=True)
class Origin:
    """Addresses are HOST:PORT, as nginx takes them."""

    rtmp: str
    http: str
    directory: Path

    def push_address(self, name: str) -> str:
        """Where a stream is pushed to and played from."""
        return f"rtmp://{self.rtmp}/{APPLICATION}/{name}"

    def hls_address(self, name: str) -> str:
        return f"http://{self.http}/hls/{name}.m3u8"

    @property
    def page_address(self) -> str:
        return f"http://{self.http}/"

    @property
    def stat_address(self) -> str:
        return f"http://{self.http}/stat"


def configuration(origin: Origin, *, module: Path, as_root: bool) -> str:
    """Of an nginx in the foreground. As root its workers stay root: they write into a directory of root's."""
    directory, temporary = origin.directory, origin.directory / "temporary"
    return f"""\
{"user root;" if as_root else ""}
daemon off;
worker_processes 1;
pid "{directory}/nginx.pid";
error_log stderr warn;
load_module "{module}";
rtmp_auto_push off;
events {{ worker_connections 512; }}
rtmp {{
  access_log off;
  server {{
    listen {origin.rtmp};
    chunk_size 4096;
    max_message 8M;
    application {APPLICATION} {{
      live on;
      wait_key on;
      record off;
      hls on;
      hls_path "{directory}/hls";
      hls_fragment 2s;
      hls_playlist_length 12s;
    }}
  }}
}}
http {{
  access_log off;
  client_body_temp_path "{temporary}/body";
  proxy_temp_path "{temporary}/proxy";
  fastcgi_temp_path "{temporary}/fastcgi";
  uwsgi_temp_path "{temporary}/uwsgi";
  scgi_temp_path "{temporary}/scgi";
  server {{
    listen {origin.http};
    types {{ text/html html; application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
    add_header Cache-Control no-cache;
    add_header Access-Control-Allow-Origin *;
    location / {{ root "{directory}/page"; }}
    location /hls/ {{ root "{directory}"; }}
    location = /stat {{ rtmp_stat all; }}
  }}
}}
"""


def page(origin: Origin) -> str:
    """Lists the streams that are pushed now. Names come from whoever pushes, so they are set as text, never as HTML."""
    return _PAGE.replace("RTMP_BASE", origin.push_address(""))


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>rtcloud dev cdn</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100% }
  th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ccc; vertical-align: top }
  code { overflow-wrap: anywhere }
</style>
<h1>Streams</h1>
<p>Push to <code>RTMP_BASE</code><i>NAME</i>; a player takes the same address, for example
  <code>ffplay -fflags nobuffer RTMP_BASE</code><i>NAME</i>.</p>
<table>
  <thead><tr><th>stream</th><th>play</th><th>picture</th><th>sound</th><th>kbit/s</th><th>since</th></tr></thead>
  <tbody></tbody>
</table>
<p id="state"></p>
<script>
  const base = "RTMP_BASE";
  const text = (from, path) => from.querySelector(path)?.textContent ?? "";
  function row(stream) {
    const name = text(stream, "name"), video = stream.querySelector("meta > video");
    const audio = stream.querySelector("meta > audio"), made = document.createElement("tr");
    const link = document.createElement("a");
    link.href = "/hls/" + encodeURIComponent(name) + ".m3u8";
    link.textContent = "HLS";
    const code = document.createElement("code");
    code.textContent = base + name;
    const play = document.createElement("td");
    play.append(code, document.createElement("br"), link);
    const cells = [
      video ? `${text(video, "codec")} ${text(video, "width")}×${text(video, "height")}` : "–",
      audio ? `${text(audio, "codec")} ${text(audio, "sample_rate")} Hz` : "–",
      Math.round(Number(text(stream, "bw_in")) / 1000),
      Math.round(Number(text(stream, "time")) / 1000) + " s",
    ];
    const title = document.createElement("td");
    title.textContent = name;
    made.append(title, play);
    for (const each of cells) {
      const cell = document.createElement("td");
      cell.textContent = each;
      made.append(cell);
    }
    return made;
  }
  async function show() {
    try {
      const answer = await fetch("/stat", { cache: "no-store" });
      const found = new DOMParser().parseFromString(await answer.text(), "text/xml");
      const streams = [...found.querySelectorAll("live > stream")].filter((each) => each.querySelector("publishing"));
      document.querySelector("tbody").replaceChildren(...streams.map(row));
      document.querySelector("#state").textContent = streams.length ? "" : "Nothing is pushed now.";
    } catch (error) {
      document.querySelector("#state").textContent = "The origin does not answer.";
    }
  }
  show();
  setInterval(show, 2000);
</script>
"""
