#ifndef HF_SANDBOX_WIRE_PARSE_REQUESTS_HPP
#define HF_SANDBOX_WIRE_PARSE_REQUESTS_HPP

// What agents read; clients have no use for it.

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/exec.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::wire {
namespace detail {

[[noreturn]] inline void refuse(std::string message) {
  throw error(errc::invalid_argument, std::move(message), {.where = hop::agent});
}

/// No request nests deeper or has more values: the kernel takes fewer arguments under the usual
/// stack limit.
inline constexpr int max_request_depth = 8;
inline constexpr std::size_t max_request_values = std::size_t{1} << 18;

/// Checks a text before a value is built from it. A value costs many times the bytes that it was
/// sent in, so what nests too deeply or has too many values is refused while it costs nothing.
struct request_bounds {
  std::size_t values = 0;
  int depth = 0;
  std::string problem = {};

  bool one_more() {
    if (++values > max_request_values)
      problem = "more than " + std::to_string(max_request_values) + " values";
    return problem.empty();
  }
  bool deeper() {
    if (++depth > max_request_depth)
      problem = "nested too deeply";
    return one_more();
  }
  /// The text is too deep or has too many values, whether it is well-formed or not.
  [[nodiscard]] bool exceeded() const noexcept {
    return depth > max_request_depth || values > max_request_values;
  }
  bool shallower() {
    --depth;
    return true;
  }

  // What nlohmann::json::sax_parse calls.
  bool null() { return one_more(); }
  bool boolean(bool) { return one_more(); }
  bool number_integer(json::number_integer_t) { return one_more(); }
  bool number_unsigned(json::number_unsigned_t) { return one_more(); }
  bool number_float(json::number_float_t, std::string const&) { return one_more(); }
  bool string(std::string&) { return one_more(); }
  bool binary(json::binary_t&) { return one_more(); }
  bool key(std::string&) { return one_more(); }
  bool start_object(std::size_t) { return deeper(); }
  bool end_object() { return shallower(); }
  bool start_array(std::size_t) { return deeper(); }
  bool end_array() { return shallower(); }
  bool parse_error(std::size_t, std::string const&, json::exception const& e) {
    // The text quotes what was read, however long.
    constexpr std::size_t most = 200;
    problem = e.what();
    if (problem.size() > most)
      problem = problem.substr(0, most) + "...";
    return false;
  }
};

/// Parses a request body, in time and memory that are linear in its size.
template <class Json>
Json parse_body(std::string_view body) {
  request_bounds bounds;
  if (!Json::sax_parse(body.begin(), body.end(), &bounds))
    refuse("invalid JSON body: " + bounds.problem);
  return Json::parse(body.begin(), body.end());
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
    request.script = std::move(text);
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
  request.argv = std::move(argv);
}

template <class Json>
void parse_environment(member_reader<Json>& members, exec_request& request) {
  Json* const env = members.find("env");
  if (env == nullptr)
    return;
  if (!env->is_object())
    refuse("'env' must be an object");
  for (auto it = env->begin(); it != env->end(); ++it) {
    std::string const& name = it.key();
    if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos)
      refuse("'env' has an invalid variable name");
    // Numbers and booleans as JSON writes them: clients take their values from untyped tables.
    if (it->is_number() || it->is_boolean())
      *it = it->dump();
    if (!it->is_string())
      refuse("'env' values must be strings, numbers or booleans: " + name);
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
    }
    request.rlimits = std::move(*limits);
  }
  if (auto const nice = members.integer("nice", -20, 19))
    request.nice = static_cast<int>(*nice);
  request.merge_stderr = members.flag("merge_stderr").value_or(false);
  request.max_output = members.count("max_output");
}

}  // namespace detail

/// Reads a request strictly: what is malformed or out of range is `errc::invalid_argument` with the
/// protocol's text, never a default. `null` counts as absent; unknown members are ignored.
template <class Json = json>
[[nodiscard]] exec_request parse_exec_request(std::string_view body) {
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

/// Reads a signal request strictly (`errc::invalid_argument`).
template <class Json = json>
[[nodiscard]] signal_request parse_signal_request(std::string_view body) {
  auto j = detail::parse_body<Json>(body);
  if (!j.is_object())
    detail::refuse("missing 'signal' (integer from 1 to 64)");
  detail::member_reader members(j);
  signal_request request;
  auto const number = members.integer("signal", 1, 64);
  if (!number)
    detail::refuse("missing 'signal' (integer from 1 to 64)");
  request.signal = static_cast<int>(*number);
  request.scope = members.text("scope").value_or("process");
  if (request.scope != "process" && request.scope != "group" && request.scope != "tree")
    detail::refuse("'scope' must be process, group or tree");
  return request;
}

}  // namespace hf::wire

#endif
