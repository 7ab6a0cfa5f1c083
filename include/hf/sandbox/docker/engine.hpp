#ifndef HF_SANDBOX_DOCKER_ENGINE_HPP
#define HF_SANDBOX_DOCKER_ENGINE_HPP

#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/docker/engine_address.hpp>
#include <hf/sandbox/docker/engine_error.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/transport_ref.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <compare>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace hf::detail::docker {

/// Version of the Engine API, "1.41".
template <class = void>
struct basic_api_version {
  int major = 1;
  int minor = 0;

  friend bool operator==(basic_api_version const&, basic_api_version const&) = default;
  friend auto operator<=>(basic_api_version const&, basic_api_version const&) = default;

  [[nodiscard]] std::string text() const {
    return std::to_string(major) + "." + std::to_string(minor);
  }
  /// Reads "1.41" into `out`; false for anything else.
  [[nodiscard]] static bool parse(std::string_view text, basic_api_version& out) {
    auto const dot = text.find('.');
    if (dot == std::string_view::npos)
      return false;
    auto const first = parse_number(text.substr(0, dot), 0xffff);
    auto const second = parse_number(text.substr(dot + 1), 0xffff);
    if (!first || !second)
      return false;
    out = {static_cast<int>(*first), static_cast<int>(*second)};
    return true;
  }
};
using api_version = basic_api_version<>;

/// Oldest version that has all that is used here (mounts, automatic removal: Docker 17.03), and the
/// newest whose meaning is known (Docker 27.4; later engines still speak it).
inline constexpr api_version oldest_api{1, 25};
inline constexpr api_version newest_api{1, 47};

/// Limits of one call to the engine.
struct engine_call {
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  stop_token stop = {};
};

/// Speaks the Docker Engine API to one engine through any transport. Calls may come from several
/// threads at once.
template <class Json = nlohmann::json>
class engine {
 public:
  using json = Json;

  explicit engine(engine_address address) : address_(std::move(address)) {}

  [[nodiscard]] engine_address const& address() const noexcept { return address_; }

  /// The version to speak: the engine's, but none newer than known here. Asked for once.
  api_version version(http::transport_ref transport, engine_call const& limits = {}) {
    {
      std::lock_guard const lock(mutex_);
      if (version_.major != 0)
        return version_;
    }
    auto rq = make("GET", "/_ping", limits);
    auto const answer = exchange(transport, rq);
    if (answer.status >= 400)
      throw engine_answer_error("ask the Docker engine for its version", answer);
    api_version offered;
    if (!api_version::parse(answer.fields.get("Api-Version"), offered))
      throw error(errc::protocol_error,
                  "what listens at " + address_.name + " (" + address_.origin +
                      ") is no Docker engine: it names no API version",
                  {.where = hop::docker});
    if (offered < oldest_api)
      throw error(errc::unsupported,
                  "the Docker engine at " + address_.name + " speaks API " + offered.text() +
                      " only, but " + oldest_api.text() + " is needed; update it",
                  {.where = hop::docker});
    auto const os = answer.fields.get("OSType");
    if (!os.empty() && os != "linux")
      throw error(errc::unsupported,
                  "the Docker engine at " + address_.name + " runs " + std::string(os) +
                      " containers; switch it to Linux containers",
                  {.where = hop::docker});
    auto const chosen = (std::min)(offered, newest_api);
    std::lock_guard const lock(mutex_);
    version_ = chosen;
    return chosen;
  }

  /// A request to a path of the API ("/containers/json?..."), with the version put before it.
  [[nodiscard]] http::request request(http::transport_ref transport, std::string method,
                                      std::string const& path, engine_call const& limits) {
    auto const prefix = "/v" + version(transport, limits).text();
    return make(std::move(method), prefix + path, limits);
  }

  /// Performs a call whose body, when there is one, is JSON. Any status is returned.
  http::response call(http::transport_ref transport, std::string method, std::string const& path,
                      std::optional<json> const& body, engine_call const& limits) {
    auto rq = request(transport, std::move(method), path, limits);
    if (body) {
      // Not strict: what came from the environment may hold bytes that are no UTF-8.
      rq.body = body->dump(-1, ' ', false, json::error_handler_t::replace);
      rq.fields.set("Content-Type", "application/json");
    }
    return exchange(transport, rq);
  }

  /// Like `call` without a body, for calls that may be made any number of times: repeated up to
  /// three times after a broken connection.
  http::response call_idempotent(http::transport_ref transport, std::string const& method,
                                 std::string const& path, engine_call const& limits) {
    for (int left = 3;; --left) {
      try {
        return call(transport, method, path, std::nullopt, limits);
      } catch (error const& e) {
        if (left == 0 || e.http_status() != 0 ||
            (e.kind() != errc::connection_lost && e.kind() != errc::connect_failed))
          throw;
        // An engine that is being restarted; one that was never there is not waited for.
        if (e.kind() == errc::connect_failed && !e.may_have_reached_peer() && !known())
          throw;
      }
      if (!sleep_for(std::chrono::milliseconds(100), limits.stop))
        throw error(errc::cancelled, "cancelled between two attempts", {.where = hop::docker});
    }
  }

  /// Performs a request; a transport's failure becomes a sentence about the engine.
  http::response exchange(http::transport_ref transport, http::request const& rq) {
    try {
      return http::fetch(transport, rq);
    } catch (error const& e) {
      throw engine_unreachable(address_, e);
    }
  }

 private:
  bool known() {
    std::lock_guard const lock(mutex_);
    return version_.major != 0;
  }

  http::request make(std::string method, std::string const& target,
                     engine_call const& limits) const {
    http::request rq;
    rq.method = std::move(method);
    rq.url = address_.url + target;
    rq.unix_socket = address_.unix_socket;
    rq.tls = address_.tls;
    rq.deadline = limits.deadline;
    rq.stop = limits.stop;
    // Starting a container on a loaded machine can take minutes without a byte.
    rq.stall_timeout = std::chrono::minutes(5);
    return rq;
  }

  engine_address address_;
  std::mutex mutex_;
  /// 0.0: not asked for yet.
  api_version version_{0, 0};
};

/// The JSON of an answer; `errc::protocol_error` when it is none.
template <class Json = nlohmann::json>
[[nodiscard]] Json engine_json(std::string const& doing, http::response const& answer) {
  auto parsed = parse_json<Json>(answer.body);
  if (parsed.is_discarded())
    throw error(errc::protocol_error, doing + ": the Docker engine's answer is no JSON",
                {.http_status = answer.status, .where = hop::docker});
  return parsed;
}

}  // namespace hf::detail::docker

#endif
