#ifndef HF_SANDBOX_AGENT_BOOTSTRAP_HPP
#define HF_SANDBOX_AGENT_BOOTSTRAP_HPP

#include <hf/sandbox/agent/agent_source.hpp>
#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/gzip.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/options.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hf::detail {

/// What makes a container of any image start the agent.
struct bootstrap {
  std::vector<std::string> command = {};
  std::vector<std::string> arguments = {};
  /// What has to be mounted for it.
  std::vector<volume> volumes = {};
};

/// A word for `/bin/sh` that stands for exactly this text.
template <class = void>
[[nodiscard]] std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (char const c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

/// First part of the script: the tools it cannot do without. All its variables begin with
/// SBX_SERVER_, so that it never changes one of the user's.
inline constexpr std::string_view bootstrap_tools = R"SH(
fail() { echo "hf-sandbox: $1" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
has chmod || fail 'the image has no chmod: use one with coreutils or busybox'
if has sha256sum; then digest() { sha256sum <"$1"; }
elif has openssl; then digest() { openssl dgst -sha256 -r <"$1"; }
else fail 'the image has neither sha256sum nor openssl to verify the agent with: add coreutils, busybox or openssl to it'
fi
SBX_SERVER_AT=
for SBX_SERVER_DIR in /tmp /var/tmp /dev/shm /run; do
  if [ -d "$SBX_SERVER_DIR" ] && [ -w "$SBX_SERVER_DIR" ]; then
    SBX_SERVER_AT=$SBX_SERVER_DIR/.sbx-server
    break
  fi
done
[ -n "$SBX_SERVER_AT" ] || fail 'no writable directory for the agent: make /tmp writable'
[ ! -e "$SBX_SERVER_AT" ] || chmod 600 "$SBX_SERVER_AT" || fail "$SBX_SERVER_AT is there and somebody else's"
)SH";

/// Fetches from SBX_SERVER_URL, else copies SBX_SERVER_FILE. A busybox wget built without timeouts
/// crashes on -T, which only its help tells.
inline constexpr std::string_view bootstrap_fetch = R"SH(
by_wget() {
  case $(wget --help 2>&1) in
    *-T*) wget -q -T 30 -t 1 -O "$SBX_SERVER_AT" "$SBX_SERVER_URL" ;;
    *) wget -q -O "$SBX_SERVER_AT" "$SBX_SERVER_URL" ;;
  esac
}
by_curl() { curl -q -fsSL --connect-timeout 30 --speed-limit 1 --speed-time 30 -o "$SBX_SERVER_AT" "$SBX_SERVER_URL"; }
SBX_SERVER_GOT=
if [ -n "$SBX_SERVER_URL" ]; then
  [ -n "$SBX_SERVER_FILE" ] || has wget || has curl || fail 'the image has neither wget nor curl to download the agent with: add one of them'
  has wget || has curl || has cp || fail 'the image has none of wget, curl and cp to fetch the agent with: add one of them'
  for SBX_SERVER_TRY in 1 2 3; do
    if has wget && by_wget; then SBX_SERVER_GOT=1; break; fi
    if has curl && by_curl; then SBX_SERVER_GOT=1; break; fi
    [ -z "$SBX_SERVER_FILE" ] || [ ! -f "$SBX_SERVER_FILE" ] || break
    has sleep || break
    sleep 1
  done
else
  has cp || fail 'the image has no cp to copy the agent with: use one with coreutils or busybox'
fi
if [ -z "$SBX_SERVER_GOT" ] && [ -n "$SBX_SERVER_FILE" ] && [ -f "$SBX_SERVER_FILE" ] && has cp; then
  if cp "$SBX_SERVER_FILE" "$SBX_SERVER_AT"; then SBX_SERVER_GOT=1; fi
fi
[ -n "$SBX_SERVER_GOT" ] || fail "the agent could not be fetched from ${SBX_SERVER_URL:-$SBX_SERVER_FILE}"
)SH";

/// Unpacks the positional parameters.
inline constexpr std::string_view bootstrap_unpack = R"SH(
has base64 || fail 'the image has no base64 to unpack the agent with: use one with coreutils or busybox'
has gzip || fail 'the image has no gzip to unpack the agent with: add it, or use another agent_source'
printf %s "$@" | base64 -d | gzip -dc >"$SBX_SERVER_AT" || fail 'the agent could not be unpacked'
)SH";

/// Last part: nothing unverified is ever made executable.
inline constexpr std::string_view bootstrap_run = R"SH(
SBX_SERVER_SUM=$(digest "$SBX_SERVER_AT") || fail 'the digest of the agent could not be computed'
SBX_SERVER_SUM=${SBX_SERVER_SUM%% *}
[ "$SBX_SERVER_SUM" = "$SBX_SERVER_SHA256" ] || fail "the agent was not started: its SHA-256 is $SBX_SERVER_SUM, expected is $SBX_SERVER_SHA256"
chmod 700 "$SBX_SERVER_AT" || fail 'the agent cannot be made executable'
set -- "$SBX_SERVER_AT"
unset SBX_SERVER_AT SBX_SERVER_DIR SBX_SERVER_FILE SBX_SERVER_GOT SBX_SERVER_SHA256 SBX_SERVER_SUM SBX_SERVER_TRY SBX_SERVER_URL
exec "$1"
)SH";

/// Where the official agent's bucket is mounted.
inline constexpr std::string_view official_agent_mount = "/.hf-sbx-server";
/// Longest argument of the kernel is 128 KiB; pieces stay well below.
inline constexpr std::size_t bootstrap_piece = std::size_t{96} << 10;
/// Most that may travel inside the command, encoded.
inline constexpr std::size_t bootstrap_limit = std::size_t{900} << 10;

/// The command of a job that fetches, verifies and starts the agent. `hub_endpoint` is where the
/// official binary is downloaded from; `automatic`, unresolved, is the official one. Throws
/// `errc::too_large` for inline bytes over the limit.
template <class = void>
[[nodiscard]] bootstrap make_bootstrap(agent_source const& from, std::string const& hub_endpoint) {
  bootstrap out;
  std::string url;
  std::string file;
  std::string digest = from.sha256();
  switch (from.what()) {
    case agent_source::kind::automatic:
      return make_bootstrap(agent_source::official(), hub_endpoint);
    case agent_source::kind::official: {
      url = hub_endpoint + "/buckets/huggingface/sbx-server/resolve/sbx-server-" + digest;
      file = std::string(official_agent_mount) + "/sbx-server-" + digest;
      volume bucket;
      bucket.type = "bucket";
      bucket.source = "huggingface/sbx-server";
      bucket.mount_path = std::string(official_agent_mount);
      bucket.read_only = true;
      out.volumes.push_back(std::move(bucket));
      break;
    }
    case agent_source::kind::url:
      url = from.location();
      break;
    case agent_source::kind::volume:
      file = from.mount().mount_path + "/" + from.path();
      out.volumes.push_back(from.mount());
      break;
    case agent_source::kind::inline_bytes: {
      digest = sha256_hex(from.bytes());
      auto const encoded = base64_encode(gzip_compress(from.bytes()));
      if (encoded.size() > bootstrap_limit)
        throw error(errc::too_large,
                    "agent_source::inline_: the agent needs " + std::to_string(encoded.size()) +
                        " bytes compressed and encoded, at most " +
                        std::to_string(bootstrap_limit) +
                        " fit into a job's command; use agent_source::url or ::volume");
      out.arguments.push_back("hf-sandbox-agent");
      for (std::size_t at = 0; at < encoded.size(); at += bootstrap_piece)
        out.arguments.push_back(encoded.substr(at, bootstrap_piece));
      break;
    }
  }
  std::string script = "SBX_SERVER_URL=" + shell_quoted(url) +
                       "\nSBX_SERVER_FILE=" + shell_quoted(file) +
                       "\nSBX_SERVER_SHA256=" + shell_quoted(digest);
  script += bootstrap_tools;
  script += from.what() == agent_source::kind::inline_bytes ? bootstrap_unpack : bootstrap_fetch;
  script += bootstrap_run;
  out.command = {"/bin/sh", "-c", std::move(script)};
  return out;
}

}  // namespace hf::detail

#endif
