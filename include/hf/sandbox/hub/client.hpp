#ifndef HF_SANDBOX_HUB_CLIENT_HPP
#define HF_SANDBOX_HUB_CLIENT_HPP

#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/peer_error.hpp>
#include <hf/sandbox/detail/printable.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/transport_ref.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/hub/answer_error.hpp>
#include <hf/sandbox/hub/credentials.hpp>
#include <hf/sandbox/hub/retry.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace hf::hub {

/// How to reach the Hub, and as whom.
struct settings {
  /// Access token; empty: found as `find_token` says, anew at every call.
  std::string token = {};
  /// Base URL; empty: `HF_ENDPOINT`, else "https://huggingface.co".
  std::string endpoint = {};
  /// Repetition of calls that can do no harm twice.
  retry_policy retries = {};
  /// TLS settings for the Hub and the Jobs proxy; empty fields: the transport's own.
  http::tls_settings tls = {};
  /// Where variables are read from; empty: the environment of this process.
  environment env = {};
};

/// One call of the Hub's API.
struct api_call {
  /// What it does, for error texts: "start the job".
  std::string doing = {};
  /// The HTTP method.
  std::string method = "GET";
  /// Path and query below the endpoint, or an absolute URL of the same origin.
  std::string target = {};
  /// Text of a JSON body (`basic_client::json_text`); nothing: none.
  std::optional<std::string> body = {};
  /// Doing it twice is harmless: transient failures are repeated.
  bool repeatable = true;
  /// Cancels the call (`errc::cancelled`).
  stop_token stop = {};
  /// By when the call and its repetitions have to be over.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Longest silence.
  std::chrono::milliseconds stall_timeout{60'000};
  /// Largest answer that is taken, in bytes.
  std::uint64_t limit = http::default_fetch_limit;
};

/// Speaks HTTP with the Hub: credentials, user agent, error mapping, repetition.
///
/// Holds values only; safe for concurrent use.
template <class Json>
class basic_client {
 public:
  /// With these settings.
  explicit basic_client(hub::settings how = {}) : settings_(std::move(how)) {}

  /// The settings.
  [[nodiscard]] hub::settings const& settings() const noexcept { return settings_; }
  /// The Hub's base URL, without a slash at its end.
  [[nodiscard]] std::string endpoint() const {
    return endpoint_url(settings_.endpoint, settings_.env);
  }
  /// The token as it is now. `errc::unauthenticated` when there is none.
  [[nodiscard]] std::string token() const { return require_token(settings_.token, settings_.env); }

  /// Throws `errc::offline` while `HF_HUB_OFFLINE` forbids what is to be done.
  void require_online(std::string const& doing) const {
    if (is_offline(settings_.env))
      throw error(errc::offline, "cannot " + doing + ": HF_HUB_OFFLINE is set",
                  {.where = hop::hub});
  }

  /// The request for a call, with credentials. Throws `errc::offline`, and `errc::protocol_error`
  /// for a URL that leaves the Hub's origin.
  [[nodiscard]] http::request prepare(api_call const& call, std::string const& token) const {
    require_online(call.doing);
    http::request rq;
    rq.method = call.method;
    auto const base = endpoint();
    if (!call.target.empty() && call.target.front() == '/') {
      rq.url = base + call.target;
    } else {
      rq.url = call.target;
      if (http::parse_url(rq.url).origin() != http::parse_url(base).origin())
        throw error(errc::protocol_error, "the Hugging Face Hub names a continuation elsewhere",
                    {.where = hop::hub});
    }
    require_safe_scheme(base);
    rq.fields.add("Authorization", "Bearer " + token);
    rq.fields.add("User-Agent", user_agent(settings_.env));
    rq.fields.add("Accept", "application/json");
    if (call.body) {
      rq.fields.add("Content-Type", "application/json");
      rq.body = *call.body;
    } else if (call.method == "POST" || call.method == "PUT") {
      rq.body = std::string();
    }
    rq.stop = call.stop;
    rq.deadline = call.deadline;
    rq.stall_timeout = call.stall_timeout;
    rq.tls = settings_.tls;
    return rq;
  }

  /// Performs a call; any status but 2xx is an error.
  http::response perform(http::transport_ref through, api_call const& call) const {
    require_online(call.doing);
    retry_loop tries(settings_.retries, call.deadline);
    for (;;) {
      auto const secret = token();
      auto const rq = prepare(call, secret);
      try {
        auto answer = http::fetch(through, rq, call.limit);
        if (answer.status >= 200 && answer.status < 300)
          return answer;
        throw answer_error<Json>(call.doing, answer, secret);
      } catch (error const& failure) {
        if (!call.repeatable || !is_transient(failure) || !tries.wait(failure, call.stop))
          rethrow(call.doing, failure, secret);
      }
    }
  }

  /// Throws the failure that is being handled; a transport's as one of the way to the Hub.
  [[noreturn]] static void rethrow(std::string const& doing, error const& failure,
                                   std::string const& secret) {
    if (failure.hop() != hop::client)
      throw;
    auto const shown = detail::peer_error(failure, {secret}, "cannot " + doing + ": ");
    auto details = shown.details();
    details.where = hop::hub;
    throw error(shown.kind(), shown.what(), std::move(details));
  }

  /// Performs a call whose answer is JSON. `errc::protocol_error` when it is not.
  [[nodiscard]] Json perform_json(http::transport_ref through, api_call const& call) const {
    return parse_json(call.doing, perform(through, call));
  }

  /// The answer's body as JSON; `errc::protocol_error` when it is not.
  [[nodiscard]] Json parse_json(std::string const& doing, http::response const& answer) const {
    auto json = detail::parse_json<Json>(answer.body);
    if (json.is_discarded()) {
      error_details details;
      details.http_status = answer.status;
      details.where = hop::hub;
      details.request_id = detail::peer_text(request_id(answer.fields), {token()}, 200);
      details.may_have_reached_peer = true;
      throw error(errc::protocol_error,
                  "cannot " + doing + ": the Hugging Face Hub answered without JSON",
                  std::move(details));
    }
    return json;
  }

  /// A call's JSON body; `errc::invalid_argument` when a text is not UTF-8.
  [[nodiscard]] static std::string json_text(std::string const& doing, Json const& body) {
    try {
      return body.dump();
    } catch (typename Json::exception const&) {
      throw error(errc::invalid_argument, "cannot " + doing + ": a text is not UTF-8");
    }
  }

 private:
  /// A token never travels in clear over a network.
  static void require_safe_scheme(std::string const& base) {
    auto const url = http::parse_url(base);
    if (!url.tls() && !http::is_loopback_host(url.host))
      throw error(errc::invalid_argument,
                  "the Hub's endpoint must be https (http only on the loopback interface): " +
                      url.origin());
  }

  hub::settings settings_;
};

/// The client as everybody uses it.
using client = basic_client<nlohmann::json>;

}  // namespace hf::hub

#endif
