#ifndef HF_SANDBOX_TESTING_TAPE_HPP
#define HF_SANDBOX_TESTING_TAPE_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/utf8.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <string>
#include <string_view>

namespace hf::testing::tape {

using json = nlohmann::json;

/// What stands on a tape in place of a secret.
inline constexpr std::string_view redacted = "[redacted]";

/// Fields whose values never get onto a tape.
[[nodiscard]] inline bool is_secret(std::string_view name) {
  for (std::string_view const known :
       {"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Sandbox-Token"})
    if (http::iequals(name, known))
      return true;
  return false;
}

[[nodiscard]] inline json from_headers(http::headers const& fields) {
  auto out = json::array();
  for (auto const& f : fields)
    out.push_back(
        {f.name, is_secret(f.name) ? std::string(redacted) : hf::detail::utf8_lossy(f.value)});
  return out;
}

[[nodiscard]] inline http::headers to_headers(json const& j) {
  http::headers out;
  for (auto const& f : j)
    out.add(f.at(0).get<std::string>(), f.at(1).get<std::string>());
  return out;
}

/// Bytes as they are when they are text, else as base64.
inline void put_bytes(json& j, std::string const& data) {
  if (hf::detail::is_utf8(data))
    j["data"] = data;
  else
    j["b64"] = hf::detail::base64_encode(data);
}

[[nodiscard]] inline std::string get_bytes(json const& j) {
  if (j.contains("data"))
    return j.at("data").get<std::string>();
  auto bytes = hf::detail::base64_decode(j.at("b64").get<std::string>());
  if (!bytes)
    throw error(errc::invalid_argument, "the tape holds malformed base64");
  return *bytes;
}

}  // namespace hf::testing::tape

#endif
