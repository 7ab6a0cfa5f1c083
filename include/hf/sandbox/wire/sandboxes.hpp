#ifndef HF_SANDBOX_WIRE_SANDBOXES_HPP
#define HF_SANDBOX_WIRE_SANDBOXES_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hf::wire {

/// Largest body of `POST /v1/sandboxes`, in bytes.
inline constexpr std::uint64_t max_create_body = 1u << 20;
/// Largest sum of names and values of a sandbox's environment, in bytes.
inline constexpr std::uint64_t max_sandbox_env = 64u << 10;
/// Bounds of `max_procs` and of `max_mem_mb`.
inline constexpr std::int64_t most_sandbox_processes = 4096;
inline constexpr std::int64_t most_sandbox_memory_mb = 1048576;
/// Most sandboxes that one request creates.
inline constexpr std::int64_t most_sandboxes_at_once = 4096;

/// Body of `POST /v1/sandboxes`.
struct create_sandboxes_request {
  /// How many.
  std::int64_t count = 1;
  /// Added to the environment of every command.
  std::map<std::string, std::string> env = {};
  /// Processes at once.
  std::int64_t max_procs = 256;
  /// Address space of each process, in MiB.
  std::int64_t max_mem_mb = 2048;
  /// Seconds without activity after which the sandbox is deleted; 0: never.
  std::int64_t idle_timeout_secs = 0;
};

/// A sandbox in the answers of `POST` and `GET /v1/sandboxes`.
struct sandbox_entry {
  /// 16 hexadecimal digits.
  std::string id = {};
  /// User id that its commands run as.
  std::int64_t uid = 0;
  /// Absolute path of its home.
  std::string home = {};
  /// Its own token; only in the answer of its creation.
  std::string token = {};
  /// "landlock" or "uid-only".
  std::string confinement = {};
  /// Milliseconds since the epoch; only in lists.
  std::optional<std::int64_t> created_at_ms = {};
};

[[nodiscard]] inline json sandbox_entry_to_json(sandbox_entry const& entry) {
  json j = {{"id", entry.id},
            {"uid", entry.uid},
            {"home", entry.home},
            {"confinement", entry.confinement}};
  if (!entry.token.empty())
    j["token"] = entry.token;
  if (entry.created_at_ms)
    j["created_at_ms"] = *entry.created_at_ms;
  return j;
}

}  // namespace hf::wire

#endif
