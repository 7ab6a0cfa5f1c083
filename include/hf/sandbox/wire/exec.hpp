#ifndef HF_SANDBOX_WIRE_EXEC_HPP
#define HF_SANDBOX_WIRE_EXEC_HPP

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <hf/sandbox/wire/json.hpp>

namespace hf::wire {

/// Body of `POST /v1/exec` and `POST /v1/processes`.
struct exec_request {
  /// A string runs under `/bin/sh -c`, a list is an argument vector.
  std::variant<std::string, std::vector<std::string>> cmd = {};
  /// `shell`: true demands a string, false a list.
  std::optional<bool> shell = {};
  std::map<std::string, std::string> env = {};
  std::optional<std::string> cwd = {};
  /// Seconds, fractional.
  std::optional<double> timeout = {};
  /// Bytes for standard input, then its end. Travels as `stdin`, or as `stdin_b64` when it is not
  /// UTF-8. Absent: /dev/null.
  std::optional<std::string> input = {};
  /// `"stdin":"stream"` with `"v":2`: input comes by `POST /v1/processes/{id}/stdin`.
  bool input_stream = false;
  bool background = false;
  std::optional<std::string> tag = {};

  /// 2 asks for numbered events and exact bytes.
  int v = 1;
  /// Operation id: 32 hexadecimal digits; empty: none.
  std::string op = {};
  /// Seconds that the run goes on without its caller.
  std::optional<double> linger = {};
  /// Name, uid or uid:gid to run as.
  std::optional<std::string> user = {};
  /// Resource limits by name ("nofile", "nproc", "as", "cpu", "fsize", "core").
  std::map<std::string, std::uint64_t> rlimits = {};
  std::optional<int> nice = {};
  bool merge_stderr = false;
  /// Bytes of output to keep at most; more is dropped, oldest first, and said to be.
  std::optional<std::uint64_t> max_output = {};
};

}  // namespace hf::wire

#endif
