#ifndef HF_SANDBOX_OPTIONS_HPP
#define HF_SANDBOX_OPTIONS_HPP

#include <hf/sandbox/detail/stop_token.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hf {

/// Something mounted into the machine.
struct volume {
  /// Kind of source: "bucket", "model", "dataset", "space" (HF Jobs), "bind" or "volume" (Docker).
  std::string type = {};
  /// What is mounted: a repository id, a host directory or a volume's name.
  std::string source = {};
  /// Absolute path inside the machine.
  std::string mount_path = {};
  /// Revision of a repository; empty: its default branch.
  std::string revision = {};
  /// Sub-path of the source to mount; empty: all of it.
  std::string path = {};
  /// Mount read-only; nothing: the launcher's default for this type.
  std::optional<bool> read_only = {};
};

/// What machine to start; the same for every launcher. A launcher that cannot honour a field that
/// was set refuses with `errc::unsupported` and the field's name.
struct launch_options {
  /// Container image, for instance "python:3.12"; empty: the launcher's default.
  std::string image = {};
  /// Hardware, in the Hub's names, for instance "cpu-basic" (2 CPUs, 16 GB); empty: the default.
  std::string flavor = {};
  /// Longest life of the machine; nothing: the launcher's default (HF Jobs: 24 h).
  std::optional<std::chrono::seconds> timeout = {};
  /// The machine ends itself after this long without activity; 0 s: never.
  std::chrono::seconds idle_timeout{600};
  /// Environment variables of the machine's commands. Names starting "SBX_" are reserved.
  std::map<std::string, std::string> env = {};
  /// Environment variables that the launcher's service must not show in clear.
  std::map<std::string, std::string> secrets = {};
  /// What to mount.
  std::vector<hf::volume> volumes = {};
  /// Labels to find the machine by. Keys starting "hf-sandbox" are reserved.
  std::map<std::string, std::string> labels = {};
  /// Account or organisation that owns and pays for the machine (HF Jobs); empty: the token's own.
  std::string name_space = {};
  /// Gives the machine the caller's Hugging Face token as the secret `HF_TOKEN`. Off by default:
  /// code in the machine can then act as the caller.
  bool forward_hf_token = false;
  /// No network in the machine (process and Docker launchers); nothing: the launcher's default.
  std::optional<bool> network = {};
  /// Longest wait until the agent answers (`errc::start_timed_out`).
  std::chrono::milliseconds start_timeout{120'000};
  /// Cancels the start from another thread (`errc::cancelled`); what was begun is undone.
  stop_token stop = {};
  /// Called with one line of progress at a time, on the calling thread; empty: none.
  std::function<void(std::string const&)> on_progress = {};
};

}  // namespace hf

#endif
