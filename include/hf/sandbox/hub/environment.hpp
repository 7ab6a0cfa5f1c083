#ifndef HF_SANDBOX_HUB_ENVIRONMENT_HPP
#define HF_SANDBOX_HUB_ENVIRONMENT_HPP

#include <hf/sandbox/http/headers.hpp>

#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace hf::hub {

/// Looks an environment variable up: nothing when it is not set. Empty: the environment of this
/// process, read at every look-up; tests give their own.
using environment = std::function<std::optional<std::string>(std::string const& name)>;

/// The variable's value; nothing when it is not set.
template <class = void>
[[nodiscard]] std::optional<std::string> look_up(environment const& env, std::string const& name) {
  if (env)
    return env(name);
  char const* const value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

/// The variable's value; empty when it is not set.
template <class = void>
[[nodiscard]] std::string value_of(environment const& env, std::string const& name) {
  return look_up(env, name).value_or(std::string());
}

/// Whether a switch is on: `1`, `ON`, `YES` or `TRUE` in any case (as `huggingface_hub` reads
/// them).
template <class = void>
[[nodiscard]] bool is_on(environment const& env, std::string const& name) {
  auto const value = value_of(env, name);
  for (std::string_view const yes : {"1", "ON", "YES", "TRUE"})
    if (http::iequals(value, yes))
      return true;
  return false;
}

/// Expands `~` at the start, `$NAME` and `${NAME}`, as `huggingface_hub` does for its paths. An
/// unset variable stays as it is written.
template <class = void>
[[nodiscard]] std::string expand_path(environment const& env, std::string_view path) {
  auto const is_name = [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  std::string out;
  for (std::size_t i = 0; i < path.size();) {
    if (path[i] != '$') {
      out += path[i++];
      continue;
    }
    bool const braced = i + 1 < path.size() && path[i + 1] == '{';
    std::size_t const begin = i + (braced ? 2 : 1);
    std::size_t end = begin;
    while (end < path.size() && is_name(path[end]))
      ++end;
    bool const complete = end > begin && (!braced || (end < path.size() && path[end] == '}'));
    std::size_t const after = complete && braced ? end + 1 : end;
    auto const value =
        complete ? look_up(env, std::string(path.substr(begin, end - begin))) : std::nullopt;
    out += value ? *value : std::string(path.substr(i, after - i));
    i = after;
  }
  if (out == "~" || out.substr(0, 2) == "~/")
    if (auto const home = look_up(env, "HOME"); home && !home->empty())
      out.replace(0, 1, *home);
  return out;
}

}  // namespace hf::hub

#endif
