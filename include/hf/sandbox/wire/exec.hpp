#ifndef HF_SANDBOX_WIRE_EXEC_HPP
#define HF_SANDBOX_WIRE_EXEC_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/utf8.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hf::wire {

/// As `stdin` with `"v":2`: input comes by `POST /v1/processes/{id}/stdin`.
inline constexpr std::string_view stream_input = "stream";

/// Body of `POST /v1/exec` and `POST /v1/processes`.
struct exec_request {
  /// A string runs under `/bin/sh -c`, a list is an argument vector.
  std::variant<std::string, std::vector<std::string>> cmd = {};
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
  /// Resource limits by name ("nofile", "nproc", "as", "cpu", "fsize", "core", "stack", "memlock",
  /// "data"); bytes, seconds or counts as setrlimit(2) has them.
  std::map<std::string, std::uint64_t> rlimits = {};
  /// Priority, as nice(2) has it.
  std::optional<int> nice = {};
  /// Standard error goes where standard output goes.
  bool merge_stderr = false;
  /// Bytes of output to keep at most; more is dropped, oldest first, and said to be.
  std::optional<std::uint64_t> max_output = {};
};

/// The command as it stands in JSON: a string or a list.
template <class Json = json>
[[nodiscard]] Json command_to_json(std::variant<std::string, std::vector<std::string>> const& cmd) {
  if (auto const* text = std::get_if<std::string>(&cmd))
    return Json(*text);
  return Json(std::get<std::vector<std::string>>(cmd));
}

/// The request as JSON, without the members that have their default value. Throws
/// `errc::invalid_argument` when a text but `input` is not UTF-8.
template <class Json = json>
[[nodiscard]] Json exec_request_to_json(exec_request const& request) {
  auto const checked = [](std::string const& text, char const* what) -> std::string const& {
    if (!hf::detail::is_utf8(text))
      throw error(errc::invalid_argument, std::string(what) + " is not valid UTF-8");
    return text;
  };
  if (auto const* text = std::get_if<std::string>(&request.cmd))
    checked(*text, "the command");
  else
    for (auto const& item : std::get<std::vector<std::string>>(request.cmd))
      checked(item, "an item of the command");

  Json j = Json::object();
  j["cmd"] = command_to_json<Json>(request.cmd);
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
  if (!request.rlimits.empty())
    j["rlimits"] = request.rlimits;
  if (request.nice)
    j["nice"] = *request.nice;
  if (request.merge_stderr)
    j["merge_stderr"] = true;
  if (request.max_output)
    j["max_output"] = *request.max_output;
  return j;
}

/// Reads a request strictly: what is malformed or out of range is `errc::invalid_argument` with the
/// protocol's text, never a default. `null` counts as absent; unknown members are ignored.
template <class Json = json>
[[nodiscard]] exec_request parse_exec_request(std::string_view body);

namespace detail {

[[noreturn]] inline void refuse(std::string message) {
  throw error(errc::invalid_argument, std::move(message), {.where = hop::agent});
}

/// Parses a request body; values nested deeper than any request are refused before they cost
/// memory.
template <class Json>
Json parse_body(std::string_view body) {
  constexpr int max_depth = 8;
  using parse_event = typename Json::parse_event_t;
  auto const guard = [](int depth, parse_event event, Json&) {
    if (depth > max_depth &&
        (event == parse_event::array_start || event == parse_event::object_start))
      refuse("invalid JSON body: nested too deeply");
    return true;
  };
  try {
    return Json::parse(body.begin(), body.end(), guard);
  } catch (typename Json::exception const& e) {
    refuse(std::string("invalid JSON body: ") + e.what());
  }
}

/// Reads members of one request object.
template <class Json>
class member_reader {
 public:
  explicit member_reader(Json& object) : object_(object) {}

  /// The member, or null when it is absent or `null`.
  Json* find(char const* name) {
    auto const it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  std::optional<std::string> text(char const* name) {
    Json* const value = find(name);
    if (value == nullptr)
      return std::nullopt;
    if (!value->is_string())
      refuse(quoted(name) + " must be a string");
    return std::move(value->template get_ref<std::string&>());
  }
  /// Text for the kernel: without NUL.
  std::optional<std::string> kernel_text(char const* name) {
    auto value = text(name);
    if (value)
      no_nul(*value, quoted(name));
    return value;
  }
  std::optional<bool> flag(char const* name) {
    Json* const value = find(name);
    if (value == nullptr)
      return std::nullopt;
    if (!value->is_boolean())
      refuse(quoted(name) + " must be true or false");
    return value->template get<bool>();
  }
  /// Seconds, at most some thirty years.
  std::optional<double> seconds(char const* name) {
    Json* const value = find(name);
    if (value == nullptr)
      return std::nullopt;
    if (!value->is_number() || !(value->template get<double>() >= 0))
      refuse(quoted(name) + " must be a number of seconds, not negative");
    double const longest = 1e9;
    return (std::min)(value->template get<double>(), longest);
  }
  std::optional<std::int64_t> integer(char const* name, std::int64_t low, std::int64_t high) {
    Json* const value = find(name);
    if (value == nullptr)
      return std::nullopt;
    // An unsigned value beyond int64 would wrap in get<std::int64_t>.
    bool const fits = value->is_number_integer() &&
                      (!value->is_number_unsigned() ||
                       value->template get<std::uint64_t>() <= std::uint64_t{INT64_MAX});
    if (!fits || value->template get<std::int64_t>() < low ||
        value->template get<std::int64_t>() > high)
      refuse(quoted(name) + " must be an integer from " + std::to_string(low) + " to " +
             std::to_string(high));
    return value->template get<std::int64_t>();
  }
  std::optional<std::uint64_t> count(char const* name) {
    Json* const value = find(name);
    if (value == nullptr)
      return std::nullopt;
    if (!value->is_number_unsigned())
      refuse(quoted(name) + " must be an integer, not negative");
    return value->template get<std::uint64_t>();
  }

  static std::string quoted(std::string const& name) { return "'" + name + "'"; }
  static void no_nul(std::string const& text, std::string const& what) {
    if (text.find('\0') != std::string::npos)
      refuse(what + " must not contain NUL");
  }

 private:
  Json& object_;
};

template <class Json>
void parse_command(member_reader<Json>& members, exec_request& request) {
  Json* const cmd = members.find("cmd");
  request.shell = members.flag("shell");
  if (request.shell && *request.shell && (cmd == nullptr || !cmd->is_string()))
    refuse("shell=true requires 'cmd' to be a string");
  if (request.shell && !*request.shell && (cmd == nullptr || !cmd->is_array()))
    refuse("shell=false requires 'cmd' to be an array of strings");
  if (cmd == nullptr || !(cmd->is_string() || cmd->is_array()))
    refuse("missing 'cmd' (string or array of strings)");
  if (cmd->is_string()) {
    auto& text = cmd->template get_ref<std::string&>();
    if (text.empty())
      refuse("cmd must not be empty");
    members.no_nul(text, "cmd");
    request.cmd = std::move(text);
    return;
  }
  if (cmd->empty())
    refuse("cmd array must not be empty");
  std::vector<std::string> argv;
  argv.reserve(cmd->size());
  for (auto& item : *cmd) {
    if (!item.is_string())
      refuse("cmd array items must be strings");
    members.no_nul(item.template get_ref<std::string&>(), "cmd array items");
    argv.push_back(std::move(item.template get_ref<std::string&>()));
  }
  request.cmd = std::move(argv);
}

template <class Json>
void parse_environment(member_reader<Json>& members, exec_request& request) {
  Json* const env = members.find("env");
  if (env == nullptr)
    return;
  if (!env->is_object())
    refuse("'env' must be an object of strings");
  for (auto it = env->begin(); it != env->end(); ++it) {
    std::string const& name = it.key();
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos)
      refuse("'env' has an invalid variable name");
    if (!it->is_string())
      refuse("'env' values must be strings: " + name);
    members.no_nul(it->template get_ref<std::string&>(), "'env' value of " + name);
    request.env.emplace(name, std::move(it->template get_ref<std::string&>()));
  }
}

template <class Json>
void parse_input(member_reader<Json>& members, exec_request& request) {
  auto text = members.text("stdin");
  auto const encoded = members.text("stdin_b64");
  if (text && encoded)
    refuse("'stdin' and 'stdin_b64' exclude each other");
  if (encoded) {
    request.input = hf::detail::base64_decode(*encoded);
    if (!request.input)
      refuse("'stdin_b64' must be padded base64");
  } else if (text && request.v >= 2 && *text == stream_input) {
    request.input_stream = true;
  } else {
    request.input = std::move(text);
  }
}

template <class Json>
void parse_limits(member_reader<Json>& members, exec_request& request) {
  if (Json* const user = members.find("user"); user != nullptr && user->is_number_unsigned())
    request.user = std::to_string(user->template get<std::uint64_t>());
  else
    request.user = members.kernel_text("user");
  if (Json* const limits = members.find("rlimits"); limits != nullptr) {
    if (!limits->is_object())
      refuse("'rlimits' must be an object of integers");
    for (auto it = limits->begin(); it != limits->end(); ++it) {
      if (!it->is_number_unsigned())
        refuse("'rlimits' values must be integers, not negative: " + it.key());
      request.rlimits.emplace(it.key(), it->template get<std::uint64_t>());
    }
  }
  if (auto const nice = members.integer("nice", -20, 19))
    request.nice = static_cast<int>(*nice);
  request.merge_stderr = members.flag("merge_stderr").value_or(false);
  request.max_output = members.count("max_output");
}

}  // namespace detail

/// Whether the text is an operation id: 32 hexadecimal digits.
[[nodiscard]] inline bool is_operation_id(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

template <class Json>
exec_request parse_exec_request(std::string_view body) {
  auto j = detail::parse_body<Json>(body);
  if (!j.is_object())
    detail::refuse("missing 'cmd' (string or array of strings)");
  detail::member_reader members(j);
  exec_request request;
  request.v = static_cast<int>(members.integer("v", 1, INT32_MAX).value_or(1));
  detail::parse_command(members, request);
  detail::parse_environment(members, request);
  request.cwd = members.kernel_text("cwd");
  request.timeout = members.seconds("timeout");
  detail::parse_input(members, request);
  request.background = members.flag("background").value_or(false);
  request.tag = members.text("tag");
  request.op = members.text("op").value_or("");
  if (members.find("op") != nullptr && !is_operation_id(request.op))
    detail::refuse("'op' must be 32 hexadecimal digits");
  for (char& c : request.op)
    if (c >= 'A' && c <= 'F')
      c = static_cast<char>(c - 'A' + 'a');
  request.linger = members.seconds("linger");
  detail::parse_limits(members, request);
  return request;
}

}  // namespace hf::wire

#endif
