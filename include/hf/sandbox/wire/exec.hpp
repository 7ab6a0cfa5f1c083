#ifndef HF_SANDBOX_WIRE_EXEC_HPP
#define HF_SANDBOX_WIRE_EXEC_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/utf8.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::wire {

/// As `stdin` with `"v":2`: input comes by `POST /v1/processes/{id}/stdin`.
inline constexpr std::string_view stream_input = "stream";

/// Body of `POST /v1/exec` and `POST /v1/processes`.
struct exec_request {
  /// `cmd` as a string: runs under `/bin/sh -c`.
  std::optional<std::string> script = {};
  /// `cmd` as a list, an argument vector: when there is no script.
  std::vector<std::string> argv = {};
  /// `shell`: true demands a string, false a list.
  std::optional<bool> shell = {};
  /// Environment variables over the agent's own.
  std::map<std::string, std::string> env = {};
  /// Working directory.
  std::optional<std::string> cwd = {};
  /// Seconds, fractional.
  std::optional<double> timeout = {};
  /// Bytes for standard input, then its end. Travels as `stdin`, or as `stdin_b64` when it is not
  /// UTF-8. Absent: /dev/null.
  std::optional<std::string> input = {};
  /// Input comes later (`stream_input`).
  bool input_stream = false;
  /// Whether the answer does not wait for the end.
  bool background = false;
  /// A name for the list of processes.
  std::optional<std::string> tag = {};

  /// 2 asks for numbered events and exact bytes.
  int v = 1;
  /// Operation id: 32 hexadecimal digits; empty: none.
  std::string op = {};
  /// Seconds that the run goes on without its caller.
  std::optional<double> linger = {};
  /// Name, uid or uid:gid to run as.
  std::optional<std::string> user = {};
  /// Object of resource limits by name ("nofile", "nproc", "as", "cpu", "fsize", "core", "stack",
  /// "memlock", "data"), in bytes, seconds or counts as setrlimit(2) has them; null: none.
  json rlimits = nullptr;
  /// Priority, as nice(2) has it.
  std::optional<int> nice = {};
  /// Standard error goes where standard output goes.
  bool merge_stderr = false;
  /// Bytes of output to keep at most; more is dropped, oldest first, and said to be.
  std::optional<std::uint64_t> max_output = {};
};

/// The command as it stands in JSON: a string or a list.
template <class Json = json>
[[nodiscard]] Json command_to_json(exec_request const& request) {
  return request.script ? Json(*request.script) : Json(request.argv);
}

/// The request as JSON, without the members that have their default value. Throws
/// `errc::invalid_argument` when a text but `input` is not UTF-8 and when `rlimits` is not an
/// object of integers that are not negative.
template <class Json = json>
[[nodiscard]] Json exec_request_to_json(exec_request const& request) {
  auto const checked = [](std::string const& text, char const* what) -> std::string const& {
    if (!hf::detail::is_utf8(text))
      throw error(errc::invalid_argument, std::string(what) + " is not valid UTF-8");
    return text;
  };
  if (request.script)
    checked(*request.script, "the command");
  for (auto const& item : request.argv)
    checked(item, "an item of the command");

  Json j = Json::object();
  j["cmd"] = command_to_json<Json>(request);
  if (request.shell)
    j["shell"] = *request.shell;
  if (!request.env.empty()) {
    Json& env = j["env"] = Json::object();
    for (auto const& variable : request.env)
      env[checked(variable.first, "a variable's name")] =
          checked(variable.second, "a variable's value");
  }
  if (request.cwd)
    j["cwd"] = checked(*request.cwd, "the working directory");
  if (request.timeout)
    j["timeout"] = *request.timeout;
  if (request.input_stream) {
    j["stdin"] = stream_input;
  } else if (request.input) {
    // With "v":2 the text "stream" would be a request to stream.
    if (hf::detail::is_utf8(*request.input) && !(request.v >= 2 && *request.input == stream_input))
      j["stdin"] = *request.input;
    else
      j["stdin_b64"] = hf::detail::base64_encode(*request.input);
  }
  if (request.background)
    j["background"] = true;
  if (request.tag)
    j["tag"] = checked(*request.tag, "the tag");
  if (request.v != 1)
    j["v"] = request.v;
  if (!request.op.empty())
    j["op"] = request.op;
  if (request.linger)
    j["linger"] = *request.linger;
  if (request.user)
    j["user"] = checked(*request.user, "the user");
  if (Json const& limits = request.rlimits; !limits.is_null()) {
    if (!limits.is_object())
      throw error(errc::invalid_argument, "rlimits is not an object");
    for (auto it = limits.begin(); it != limits.end(); ++it)
      if (!it->is_number_integer() ||
          (!it->is_number_unsigned() && it->template get<std::int64_t>() < 0))
        throw error(errc::invalid_argument, "rlimits: '" + checked(it.key(), "a limit's name") +
                                                "' is not an integer from 0 on");
    if (!limits.empty())
      j["rlimits"] = limits;
  }
  if (request.nice)
    j["nice"] = *request.nice;
  if (request.merge_stderr)
    j["merge_stderr"] = true;
  if (request.max_output)
    j["max_output"] = *request.max_output;
  return j;
}

/// Whether the text is an operation id: 32 hexadecimal digits.
template <class = void>
[[nodiscard]] bool is_operation_id(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

}  // namespace hf::wire

#endif
