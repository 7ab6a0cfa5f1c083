#ifndef HF_SANDBOX_ANY_TRANSPORT_HPP
#define HF_SANDBOX_ANY_TRANSPORT_HPP

#include <hf/sandbox/detail/owner.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>

#include <concepts>
#include <utility>

namespace hf {

/// Any transport behind one type, for programs that do not want templates in their headers:
/// `basic_sandbox<any_transport, any_launcher>` is a plain class.
///
/// Costs one virtual call per request. Behaves as what it holds, also towards threads; a moved-from
/// object can only be destroyed or assigned to.
class any_transport {
 public:
  /// Takes a transport over.
  template <class T>
  requires(!std::same_as<T, any_transport>) && transport<T> any_transport(T held)
      : held_(new holder<T>(std::move(held))) {}

  /// Performs one request through the transport that is held.
  void send(http::request const& rq, http::response_sink& sink) { held_->send(rq, sink); }

  /// What the transport that is held can do.
  [[nodiscard]] transport_traits held_traits() const noexcept { return held_->traits(); }

 private:
  struct base {
    virtual ~base() = default;
    virtual void send(http::request const& rq, http::response_sink& sink) = 0;
    [[nodiscard]] virtual transport_traits traits() const noexcept = 0;
  };
  template <class T>
  struct holder final : base {
    explicit holder(T t) : held(std::move(t)) {}
    void send(http::request const& rq, http::response_sink& sink) override { held.send(rq, sink); }
    [[nodiscard]] transport_traits traits() const noexcept override { return traits_of<T>(); }
    T held;
  };

  detail::owner<base> held_;
};

static_assert(transport<any_transport>);

}  // namespace hf

#endif
