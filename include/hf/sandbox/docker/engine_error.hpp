#ifndef HF_SANDBOX_DOCKER_ENGINE_ERROR_HPP
#define HF_SANDBOX_DOCKER_ENGINE_ERROR_HPP

#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/peer_error.hpp>
#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/docker/engine_address.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/response.hpp>

#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail::docker {

/// The sentence in an engine's error answer: its `message`, else the body.
template <class Json = nlohmann::json>
[[nodiscard]] std::string engine_message(http::response const& answer) {
  auto const body = parse_json<Json>(answer.body, 1000);
  if (body.is_object() && body.contains("message") && body["message"].is_string())
    return peer_text(body["message"].template get_ref<std::string const&>());
  auto const text = peer_text(answer.body, {}, 500);
  return text.empty() ? "HTTP status " + std::to_string(answer.status) : text;
}

template <class = void>
[[nodiscard]] bool contains(std::string_view text, std::string_view part) noexcept {
  return text.find(part) != std::string_view::npos;
}

/// Code and sentence for what an engine says when it fails, whichever call it was.
template <class = void>
[[nodiscard]] error engine_failure(std::string const& doing, std::string const& message,
                                   errc otherwise, int status = 0) {
  error_details details;
  details.where = hop::docker;
  details.http_status = status;
  details.may_have_reached_peer = true;
  if (contains(message, "no space left on device"))
    return error(errc::no_space,
                 doing + ": the Docker engine's disk is full (" + message +
                     "); free some with 'docker system prune'",
                 std::move(details));
  if (contains(message, "HTTP request to an HTTPS server"))
    return error(errc::tls_failed,
                 doing +
                     ": the Docker engine wants TLS; set DOCKER_TLS_VERIFY=1 and "
                     "DOCKER_CERT_PATH to the directory with ca.pem, cert.pem and key.pem",
                 std::move(details));
  return error(otherwise, doing + ": " + message, std::move(details));
}

/// An answer with status >= 400 as an error.
template <class Json = nlohmann::json>
[[nodiscard]] error engine_answer_error(std::string const& doing, http::response const& answer) {
  auto code = errc::server_error;
  switch (answer.status) {
    case 400:
      code = errc::invalid_argument;
      break;
    case 401:
      code = errc::unauthenticated;
      break;
    case 403:
      code = errc::permission_denied;
      break;
    case 404:
      code = errc::not_found;
      break;
    case 405:
    case 501:
      code = errc::unsupported;
      break;
    case 409:
      code = errc::conflict;
      break;
    default:
      if (answer.status < 500)
        code = errc::protocol_error;
  }
  return engine_failure(doing, engine_message<Json>(answer), code, answer.status);
}

/// What a transport's failure on the way to the engine means, with the remedy.
template <class = void>
[[nodiscard]] error engine_unreachable(engine_address const& engine, error const& failure) {
  auto const cause = peer_error(failure, {});
  auto details = cause.details();
  details.where = hop::docker;
  auto const where = engine.name + " (" + engine.origin + ")";
  switch (cause.kind()) {
    case errc::connect_failed:
      if (!engine.unix_socket.empty()) {
        struct stat info {};
        bool const found = ::stat(engine.unix_socket.c_str(), &info) == 0;
        if ((!found && errno == EACCES) ||
            (found && ::access(engine.unix_socket.c_str(), R_OK | W_OK) != 0))
          return error(errc::permission_denied,
                       "this user may not use the Docker engine at " + where +
                           "; add the user to the group 'docker' and log in again, or use a "
                           "rootless engine",
                       std::move(details));
      }
      return error(errc::connect_failed,
                   "no Docker engine listens at " + where +
                       "; start it ('systemctl start docker'), or set DOCKER_HOST",
                   std::move(details));
    case errc::resolve_failed:
      return error(errc::resolve_failed,
                   "the host of the Docker engine at " + where +
                       " is unknown; correct the address: " + cause.what(),
                   std::move(details));
    case errc::tls_failed:
      return error(errc::tls_failed,
                   "TLS with the Docker engine at " + where + " failed (" + cause.what() +
                       "); check ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH or the context",
                   std::move(details));
    case errc::unsupported:
      return error(errc::unsupported,
                   "this transport cannot reach the Docker engine at " + where + ": " +
                       cause.what() + "; use another transport or a tcp:// address",
                   std::move(details));
    case errc::cancelled:
      return error(cause.kind(), cause.what(), std::move(details));
    default:
      return error(cause.kind(), "the Docker engine at " + where + ": " + cause.what(),
                   std::move(details));
  }
}

}  // namespace hf::detail::docker

#endif
