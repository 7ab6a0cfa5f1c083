#ifndef HF_SANDBOX_HUB_SANDBOX_JOB_HPP
#define HF_SANDBOX_HUB_SANDBOX_JOB_HPP

#include <hf/sandbox/agent/endpoint.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/hub/client.hpp>
#include <hf/sandbox/hub/job.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace hf::hub {

// Names shared with the official client: a sandbox made by either is found by the other.
inline constexpr char const* sandbox_label = "hf-sandbox";
inline constexpr char const* mode_label = "hf-sandbox-mode";
inline constexpr char const* nonce_label = "hf-sandbox-nonce";
inline constexpr char const* pool_label = "hf-sandbox-pool";

/// The agent's token: recomputable from the job's nonce by whoever holds the Hugging Face token.
template <class = void>
[[nodiscard]] std::string agent_token(std::string const& hf_token, std::string const& nonce) {
  return detail::hmac_sha256_hex(hf_token, "hf-sandbox:" + nonce);
}

/// A sandbox's id, taken apart.
struct sandbox_id {
  /// Empty: the token's own namespace.
  std::string name_space = {};
  /// The job's id.
  std::string job = {};
};

/// Reads "id" or "namespace/id". Throws `errc::unsupported` for a pooled sandbox ("host.local") and
/// `errc::invalid_argument` for anything that cannot be an id.
template <class = void>
[[nodiscard]] sandbox_id parse_sandbox_id(std::string_view text) {
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  sandbox_id out;
  auto const slash = text.find('/');
  if (slash != std::string_view::npos)
    out.name_space = std::string(text.substr(0, slash));
  out.job = std::string(slash == std::string_view::npos ? text : text.substr(slash + 1));
  auto const shown = "'" + std::string(text.substr(0, 200)) + "'";
  auto const dot = out.job.find('.');
  if (dot != std::string::npos && dot > 0 && dot + 1 < out.job.size() &&
      out.job.find_first_not_of(plain) == dot && out.job.find('.', dot + 1) == std::string::npos &&
      out.job.find_first_not_of(plain, dot + 1) == std::string::npos)
    throw error(errc::unsupported,
                "sandbox id " + shown + ": connecting to a pooled sandbox is not supported yet");
  bool const bad_space =
      slash != std::string_view::npos &&
      (out.name_space.empty() || out.name_space[0] == '.' ||
       out.name_space.find_first_not_of(std::string(plain) + ".") != std::string::npos);
  if (bad_space || out.job.empty() || out.job.find_first_not_of(plain) != std::string::npos)
    throw error(errc::invalid_argument,
                "sandbox id " + shown + ": expected '<id>' or '<namespace>/<id>'");
  return out;
}

/// The part of a host name that the job's proxy host begins with: "<job id>--49983.".
template <class = void>
[[nodiscard]] std::string proxy_host_prefix(std::string const& job_id) {
  std::string out = job_id;
  for (char& c : out)
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c + 32);
  return out + "--" + std::to_string(wire::default_port) + ".";
}

/// Whether tokens may be sent to this URL: https (http only on the loopback interface), on a host
/// that begins with the job's own id and the agent's port.
template <class = void>
[[nodiscard]] bool is_own_proxy_url(std::string const& text, std::string const& job_id) {
  http::url url;
  try {
    url = http::parse_url(text);
  } catch (error const&) {
    return false;
  }
  auto const prefix = proxy_host_prefix(job_id);
  return (url.tls() || http::is_loopback_host(url.host)) && url.target == "/" &&
         url.host.size() > prefix.size() && url.host.compare(0, prefix.size(), prefix) == 0;
}

/// Base URL of the job's agent behind the Jobs proxy: the listed one, else, on huggingface.co, the
/// computed one; nothing while it is not known. Throws `errc::protocol_error` when the listed one
/// must not be trusted with tokens.
template <class = void>
[[nodiscard]] std::optional<std::string> proxy_url(job_info const& job,
                                                   std::string const& hub_endpoint) {
  auto const marker = "--" + std::to_string(wire::default_port) + ".";
  for (auto url : job.expose_urls) {
    if (url.find(marker) == std::string::npos)
      continue;
    while (!url.empty() && url.back() == '/')
      url.pop_back();
    if (!is_own_proxy_url(url, job.id))
      throw error(errc::protocol_error,
                  "the Hub lists a proxy for job " + job.id +
                      " that is not https or not the job's own host; nothing was sent there",
                  {.where = hop::hub, .may_have_reached_peer = true});
    return url;
  }
  if (hub_endpoint == "https://huggingface.co")
    return "https://" + proxy_host_prefix(job.id) + "hf.jobs";
  return std::nullopt;
}

/// How to reach a sandbox job's agent: proxy URL, the Hub's bearer, the agent's token. Nothing
/// while the URL is not known.
template <class Json>
[[nodiscard]] std::optional<endpoint> agent_endpoint(job_info const& job,
                                                     basic_client<Json> const& hub) {
  auto const url = proxy_url(job, hub.endpoint());
  if (!url)
    return std::nullopt;
  auto const token = hub.token();
  endpoint out;
  out.url = *url;
  out.headers.add("Authorization", "Bearer " + token);
  out.headers.add(std::string(wire::token_header), agent_token(token, job.label(nonce_label)));
  out.tls = hub.settings().tls;
  return out;
}

}  // namespace hf::hub

#endif
