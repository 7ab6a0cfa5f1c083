#ifndef HF_SANDBOX_TRANSPORTS_CURL_HPP
#define HF_SANDBOX_TRANSPORTS_CURL_HPP

#include <hf/sandbox/detail/owner.hpp>
#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/transports/curl/exchange.hpp>
#include <hf/sandbox/transports/curl/lane.hpp>
#include <hf/sandbox/transports/curl/route.hpp>
#include <hf/sandbox/transports/options.hpp>

#include <concepts>
#include <utility>

namespace hf {

/// HTTP through libcurl (7.80 or later): the default transport.
///
/// Models `hf::transport`; `traits` lists the one deviation. `send` blocks, and may be called from
/// any number of threads at once; each call takes a pooled handle with its own kept-alive
/// connections. A request is never written twice: a pooled connection that the server has closed is
/// noticed before use, and one that breaks later is `errc::connection_lost`. Proxies may be of any
/// kind that libcurl knows. A moved-from transport can only be destroyed or assigned to.
class curl_transport {
 public:
  /// What it can and cannot do.
  static constexpr transport_traits traits{.name = "curl", .strict_tls_end = false};

  template <class = void>
  curl_transport() : curl_transport(transport_options{}) {}
  /// Throws `errc::internal` when libcurl cannot be initialised.
  template <std::same_as<transport_options> Options = transport_options>
  explicit curl_transport(Options options) : state_(new state<>(std::move(options))) {}

  /// Performs one request; see `hf::transport` for the rules and errors.
  template <std::same_as<http::request> Request = http::request>
  void send(Request const& rq, http::response_sink& sink) {
    auto& mine = *state_of<Request>();
    auto const target = detail::validate_request(rq);
    detail::check_not_over(rq);
    detail::curl_route const route(rq, target, mine.options);
    auto lane = mine.pool.take(route.key(), rq.connection_group);
    try {
      detail::curl_exchange(*lane, rq, target, route, mine.options, sink).run();
    } catch (...) {
      mine.pool.give_back(std::move(lane));
      throw;
    }
    mine.pool.give_back(std::move(lane));
  }

 private:
  template <class Options = transport_options, class Pool = detail::curl_lane_pool<>>
  struct state {
    explicit state(Options o) : options(std::move(o)), pool(options.max_idle_connections) {
      detail::curl_initialise();
    }
    Options options;
    Pool pool;
  };

  // Depends on the call's type, so that including this compiles nothing of what is behind it.
  template <class>
  [[nodiscard]] state<>* state_of() const noexcept {
    return state_.get();
  }

  detail::owner<state<>> state_;
};

static_assert(transport<curl_transport>);

}  // namespace hf

#endif
