#ifndef HF_SANDBOX_AGENT_ANSWER_ERROR_HPP
#define HF_SANDBOX_AGENT_ANSWER_ERROR_HPP

#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
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

/// Whether the answer behind an error says that the request had no effect and may be sent again,
/// whatever it was. An agent's 408 tells that the request did not arrive whole; agents of the
/// common protocol send it unasked on idle connections, where it can be taken for the answer to the
/// next request. 503 and 429 it gives before it looks at a request. A gateway's 408 or 503 tells
/// nothing.
template <class = void>
[[nodiscard]] bool refused_unread(error const& e) noexcept {
  int const status = e.http_status();
  return status == 429 || ((status == 408 || status == 503) && e.hop() == hop::agent);
}

/// Whether this is how an agent of the common protocol refuses a connection too many: a head that
/// has nothing but what ends the connection, as no gateway's has.
template <class = void>
[[nodiscard]] bool is_bare_refusal(http::response const& answer) {
  if (answer.status != 503 || !answer.body.empty())
    return false;
  for (auto const& field : answer.fields)
    if (!http::iequals(field.name, "Connection") && !http::iequals(field.name, "Content-Length") &&
        !http::iequals(field.name, "Content-Type"))
      return false;
  return true;
}

/// The code for an error number of Linux, on which every agent runs.
[[nodiscard]] constexpr errc errc_of_linux_error(int number) noexcept {
  switch (number) {
    case 1:   // EPERM
    case 13:  // EACCES
    case 30:  // EROFS
      return errc::permission_denied;
    case 2:  // ENOENT
      return errc::not_found;
    case 6:   // ENXIO
    case 19:  // ENODEV
    case 29:  // ESPIPE
      return errc::not_regular;
    case 12:   // ENOMEM
    case 23:   // ENFILE
    case 24:   // EMFILE
    case 105:  // ENOBUFS
      return errc::resource_exhausted;
    case 16:  // EBUSY
    case 17:  // EEXIST
    case 26:  // ETXTBSY
      return errc::conflict;
    case 20:  // ENOTDIR
      return errc::not_directory;
    case 21:  // EISDIR
      return errc::is_directory;
    case 22:  // EINVAL
    case 36:  // ENAMETOOLONG
    case 40:  // ELOOP
      return errc::invalid_argument;
    case 27:  // EFBIG
      return errc::too_large;
    case 28:   // ENOSPC
    case 122:  // EDQUOT
      return errc::no_space;
    case 39:  // ENOTEMPTY
      return errc::not_empty;
    default:
      return errc::io_error;
  }
}

/// The number in a text that ends in "(os error 13)"; 0 when it does not.
template <class = void>
[[nodiscard]] int system_error_in(std::string_view text) {
  constexpr std::string_view mark = " (os error ";
  auto const at = text.rfind(mark);
  if (at == std::string_view::npos || text.back() != ')')
    return 0;
  auto const digits = text.substr(at + mark.size(), text.size() - at - mark.size() - 1);
  return static_cast<int>(hf::detail::parse_number(digits, 0xffff).value_or(0));
}

/// The code for a refusal that came without one, from what the common protocol says in its text.
template <class = void>
[[nodiscard]] errc errc_of_text(errc by_status, std::string_view text, int number) {
  // The text is the only witness of a command that did not start.
  if (by_status == errc::invalid_argument && text.starts_with("failed to spawn"))
    return errc::exec_failed;
  if (by_status == errc::conflict && text.starts_with("is a directory"))
    return errc::is_directory;
  if (by_status == errc::invalid_argument && text.starts_with("not a regular file"))
    return errc::not_regular;
  return by_status == errc::invalid_argument && number != 0 ? errc_of_linux_error(number)
                                                            : by_status;
}

/// Seconds of a `Retry-After` field; negative when absent or a date.
template <class = void>
[[nodiscard]] double retry_after_seconds(http::headers const& fields) {
  std::string const text(fields.get("Retry-After"));
  if (text.empty())
    return -1;
  char* end = nullptr;
  double const seconds = std::strtod(text.c_str(), &end);
  return end == text.c_str() || *end != '\0' || !(seconds >= 0) ? -1 : seconds;
}

/// What is known of the agent whose answer is looked at.
struct answer_context {
  /// Texts that must not be shown: what the request carried.
  secret_list secrets = {};
  /// The agent has said its instance before: it does so in every answer.
  bool names_instance = false;
};

/// Whether a gateway's answer with this status says no more than that the agent was not reached.
[[nodiscard]] constexpr bool status_of_nobody(int status) noexcept {
  return status < 500 && status != 401 && status != 402 && status != 403 && status != 408 &&
         status != 413 && status != 429;
}

/// Turns an answer with status >= 300 of an agent, or of a gateway in front of it, into an error.
///
/// `doing` names the call for people ("exec", "read '/x'"). An agent of ours is recognised by its
/// instance field, others by the shape of their JSON. Whatever else a gateway says is not about
/// the file or process that was asked for: its 404 is `errc::connect_failed`, not `not_found`.
template <class Json = wire::json>
[[nodiscard]] error agent_answer_error(std::string_view doing, http::response const& answer,
                                       answer_context const& context = {}) {
  error_details details;
  details.http_status = answer.status;
  details.may_have_reached_peer = true;
  details.request_id = peer_text(answer.fields.get("X-Request-Id"), context.secrets, 200);
  details.retry_after_s = retry_after_seconds(answer.fields);
  details.where = hop::jobs_proxy;

  errc code = errc_of_status(answer.status);
  bool coded = false;
  std::string text;
  auto const body = parse_json<Json>(answer.body, 1000);
  if (body.is_object()) {
    if (auto const it = body.find("error"); it != body.end() && it->is_string()) {
      if (!context.names_instance)
        details.where = hop::agent;
      text = peer_text(it->template get_ref<std::string const&>(), context.secrets);
    }
    if (auto const it = body.find("code"); it != body.end() && it->is_string()) {
      auto const named = errc_from_string(it->template get_ref<std::string const&>());
      coded = named != errc::internal;
      if (coded)
        code = named;
    }
    if (auto const it = body.find("stage"); it != body.end() && it->is_string())
      details.stage = peer_text(it->template get_ref<std::string const&>(), context.secrets, 100);
    if (auto const it = body.find("errno");
        it != body.end() && it->is_number_unsigned() && it->template get<std::uint64_t>() < 4096)
      details.system_error = it->template get<int>();
  }
  if (answer.fields.contains(wire::instance_header) || is_bare_refusal(answer))
    details.where = hop::agent;
  if (text.empty())
    text = peer_text(answer.body, context.secrets, 500);
  if (details.where == hop::jobs_proxy) {
    code = status_of_nobody(answer.status) ? errc::connect_failed : errc_of_status(answer.status);
    details.stage.clear();
    details.system_error = 0;
  }
  if (!coded && details.where == hop::agent) {
    if (details.system_error == 0)
      details.system_error = system_error_in(text);
    code = errc_of_text(code, text, details.system_error);
  }
  if (code == errc::connect_failed || answer.status == 408 || answer.status == 429 ||
      answer.status == 502 || answer.status == 503 || answer.status == 504)
    details.retry = retry_advice::yes;

  std::string message(doing);
  message += ": ";
  message += text.empty() ? "HTTP status " + std::to_string(answer.status) : text;
  if (details.where == hop::jobs_proxy)
    message += " (answered by a gateway in front of the agent, HTTP " +
               std::to_string(answer.status) +
               (code == errc::connect_failed ? "; the agent was not reached)" : ")");
  else if (code == errc::unauthenticated)
    message +=
        "; this is about the token of the sandbox, not about an account's: connect with the "
        "launcher and the account that made it";
  return error(code, std::move(message), std::move(details));
}

/// What calls to a sandbox that has ended throw.
template <class = void>
[[nodiscard]] error sandbox_ended_error(error_details details = {}) {
  return error(errc::sandbox_expired,
               "the sandbox has ended (terminated, idle or out of time); create a new one",
               std::move(details));
}

}  // namespace hf::detail

#endif
