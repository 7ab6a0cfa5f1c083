#ifndef HF_SANDBOX_HUB_CREDENTIALS_HPP
#define HF_SANDBOX_HUB_CREDENTIALS_HPP

#include <hf/sandbox/detail/read_text_file.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/hub/environment.hpp>
#include <hf/sandbox/version.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace hf::hub {

namespace credentials_detail {

template <class = void>
[[nodiscard]] std::string trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n\v\f";
  auto const begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos)
    return {};
  return std::string(text.substr(begin, text.find_last_not_of(blanks) - begin + 1));
}

/// The token without blanks around it; nothing when none is left.
template <class = void>
[[nodiscard]] std::optional<std::string> cleaned(std::string_view text) {
  auto token = trimmed(text);
  if (token.empty())
    return std::nullopt;
  for (char const c : token)
    if (c <= ' ' || c > '~')
      throw error(errc::unauthenticated,
                  "the Hugging Face token holds a blank, a control or a non-ASCII character");
  return token;
}

}  // namespace credentials_detail

/// Where the official clients keep the token: `HF_TOKEN_PATH`, else `$HF_HOME/token`, where
/// `HF_HOME` defaults to `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
template <class = void>
[[nodiscard]] std::string token_path(environment const& env) {
  if (auto const path = value_of(env, "HF_TOKEN_PATH"); !path.empty())
    return expand_path(env, path);
  if (auto const home = value_of(env, "HF_HOME"); !home.empty())
    return expand_path(env, home) + "/token";
  if (auto const cache = value_of(env, "XDG_CACHE_HOME"); !cache.empty())
    return expand_path(env, cache) + "/huggingface/token";
  return expand_path(env, "~/.cache/huggingface/token");
}

/// The caller's Hugging Face token, first hit: `explicit_token`, `HF_TOKEN`,
/// `HUGGING_FACE_HUB_TOKEN`, the token file. Nothing when there is none, or when
/// `HF_HUB_DISABLE_IMPLICIT_TOKEN` forbids all but the explicit one.
///
/// Throws `errc::unauthenticated` for a token that cannot be one (inner blanks, control
/// characters); its text never shows the token.
template <class = void>
[[nodiscard]] std::optional<std::string> find_token(std::string_view explicit_token,
                                                    environment const& env) {
  using credentials_detail::cleaned;
  if (auto token = cleaned(explicit_token))
    return token;
  if (is_on(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN"))
    return std::nullopt;
  for (char const* const name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
    if (auto token = cleaned(value_of(env, name)))
      return token;
  auto const text = hf::detail::read_text_file(token_path(env));
  return text ? cleaned(*text) : std::nullopt;
}

/// Like `find_token`, but throws `errc::unauthenticated` with what to do when there is none.
template <class = void>
[[nodiscard]] std::string require_token(std::string_view explicit_token, environment const& env) {
  if (auto token = find_token(explicit_token, env))
    return *std::move(token);
  if (is_on(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN"))
    throw error(
        errc::unauthenticated,
        "no Hugging Face token: HF_HUB_DISABLE_IMPLICIT_TOKEN is set, so that neither "
        "HF_TOKEN nor the login of `hf auth login` counts, and the option `token` is empty");
  throw error(errc::unauthenticated,
              "no Hugging Face token: log in with `hf auth login`, or set HF_TOKEN (looked at "
              "HF_TOKEN, HUGGING_FACE_HUB_TOKEN and " +
                  token_path(env) + ")");
}

/// The Hub's base URL without a trailing slash: `explicit_url`, else `HF_ENDPOINT`, else
/// "https://huggingface.co".
template <class = void>
[[nodiscard]] std::string endpoint_url(std::string_view explicit_url, environment const& env) {
  auto url = credentials_detail::trimmed(explicit_url);
  if (url.empty())
    url = credentials_detail::trimmed(value_of(env, "HF_ENDPOINT"));
  if (url.empty())
    url = "https://huggingface.co";
  while (!url.empty() && url.back() == '/')
    url.pop_back();
  return url;
}

/// Whether `HF_HUB_OFFLINE` forbids every call to the Hub.
template <class = void>
[[nodiscard]] bool is_offline(environment const& env) {
  return is_on(env, "HF_HUB_OFFLINE");
}

/// The first part of every `User-Agent` sent to the Hub.
inline constexpr std::string_view user_agent_product = "hf-sandbox-cpp/" HF_SANDBOX_VERSION_STRING;

/// The `User-Agent` of API calls; `HF_HUB_USER_AGENT_ORIGIN` adds `origin/<value>`.
template <class = void>
[[nodiscard]] std::string user_agent(environment const& env) {
  std::string out(user_agent_product);
  out += "; lang/c++";
  std::string origin;
  for (char const c : value_of(env, "HF_HUB_USER_AGENT_ORIGIN"))
    if (c >= ' ' && c <= '~')
      origin += c;
  if (!origin.empty())
    out += "; origin/" + origin;
  return out;
}

}  // namespace hf::hub

#endif
