#ifndef HF_SANDBOX_AGENT_ANSWER_ERROR_HPP
#define HF_SANDBOX_AGENT_ANSWER_ERROR_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// The code for an HTTP status that came without a code of its own.
[[nodiscard]] constexpr errc errc_of_status(int status) noexcept {
  switch (status) {
    case 400:
      return errc::invalid_argument;
    case 401:
      return errc::unauthenticated;
    case 402:
      return errc::quota_exceeded;
    case 403:
      return errc::permission_denied;
    case 404:
      return errc::not_found;
    case 405:
      return errc::unsupported;
    case 408:
      return errc::request_timed_out;
    case 409:
      return errc::conflict;
    case 410:
      return errc::output_gone;
    case 411:
      return errc::protocol_error;
    case 413:
      return errc::too_large;
    case 429:
      return errc::rate_limited;
    case 507:
      return errc::no_space;
    default:
      return status >= 500 ? errc::server_error : errc::protocol_error;
  }
}

/// Seconds of a `Retry-After` field; negative when absent or a date.
[[nodiscard]] inline double retry_after_seconds(http::headers const& fields) {
  std::string const text(fields.get("Retry-After"));
  if (text.empty())
    return -1;
  char* end = nullptr;
  double const seconds = std::strtod(text.c_str(), &end);
  return end == text.c_str() || *end != '\0' || !(seconds >= 0) ? -1 : seconds;
}

/// Turns an answer with status >= 400 of an agent, or of the proxy in front of it, into an error.
///
/// `doing` names the call for people ("exec", "read '/x'"). An agent of ours is recognised by its
/// instance field; whatever is not the agent's JSON came from the proxy.
template <class Json = wire::json>
[[nodiscard]] error agent_answer_error(std::string_view doing, http::response const& answer) {
  error_details details;
  details.http_status = answer.status;
  details.may_have_reached_peer = true;
  details.request_id = std::string(answer.fields.get("X-Request-Id"));
  details.retry_after_s = retry_after_seconds(answer.fields);
  details.where = hop::jobs_proxy;

  errc code = errc_of_status(answer.status);
  std::string text;
  auto const body = Json::parse(answer.body, nullptr, false);
  if (body.is_object()) {
    if (auto const it = body.find("error"); it != body.end() && it->is_string()) {
      details.where = hop::agent;
      text = it->template get<std::string>();
    }
    if (auto const it = body.find("code"); it != body.end() && it->is_string()) {
      auto const named = errc_from_string(it->template get_ref<std::string const&>());
      if (named != errc::internal)
        code = named;
    }
    if (auto const it = body.find("stage"); it != body.end() && it->is_string())
      details.stage = it->template get<std::string>();
    if (auto const it = body.find("errno"); it != body.end() && it->is_number_integer())
      details.system_error = it->template get<int>();
  }
  if (answer.fields.contains(wire::instance_header))
    details.where = hop::agent;
  if (text.empty())
    text = answer.body.substr(0, 500);
  // The common protocol has no codes: the text is the only witness of a command that did not start.
  if (code == errc::invalid_argument && text.starts_with("failed to spawn"))
    code = errc::exec_failed;
  if (code == errc::conflict && text.starts_with("is a directory"))
    code = errc::is_directory;
  if (answer.status == 429 || answer.status == 503 || answer.status == 502 || answer.status == 504)
    details.retry = retry_advice::yes;

  std::string message(doing);
  message += ": ";
  message += text.empty() ? "HTTP status " + std::to_string(answer.status) : text;
  if (details.where == hop::jobs_proxy)
    message += " (answered by the proxy, HTTP " + std::to_string(answer.status) + ")";
  return error(code, std::move(message), std::move(details));
}

/// What calls to a sandbox that has ended throw.
[[nodiscard]] inline error sandbox_ended_error(error_details details = {}) {
  return error(errc::sandbox_expired,
               "the sandbox has ended (terminated, idle or out of time); create a new one",
               std::move(details));
}

}  // namespace hf::detail

#endif
