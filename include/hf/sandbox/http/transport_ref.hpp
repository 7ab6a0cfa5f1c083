#ifndef HF_SANDBOX_HTTP_TRANSPORT_REF_HPP
#define HF_SANDBOX_HTTP_TRANSPORT_REF_HPP

#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>

#include <memory>
#include <type_traits>

namespace hf::http {

/// A reference to any transport, of one type for all of them: code that needs no knowledge of the
/// transport's type is compiled once. The transport has to outlive it; copies refer to the same
/// one.
class transport_ref {
 public:
  /// Refers to `through`, which must outlive it. (The concept itself would ask whether this class
  /// converts to itself.)
  template <class T>
  requires(!std::is_const_v<T> && !std::is_same_v<T, transport_ref>) transport_ref(T& through)
  noexcept
      : object_(std::addressof(through)),
        send_([](void* object, request const& rq, response_sink& sink) {
          static_cast<T*>(object)->send(rq, sink);
        }),
        traits_(traits_of<T>()) {}

  /// Forwards to the transport.
  void send(request const& rq, response_sink& sink) { send_(object_, rq, sink); }
  /// The traits of the transport behind it.
  [[nodiscard]] transport_traits const& behind() const noexcept { return traits_; }

 private:
  void* object_;
  void (*send_)(void*, request const&, response_sink&);
  transport_traits traits_;
};

}  // namespace hf::http

#endif
