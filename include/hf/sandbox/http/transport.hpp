#ifndef HF_SANDBOX_HTTP_TRANSPORT_HPP
#define HF_SANDBOX_HTTP_TRANSPORT_HPP

#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>

#include <type_traits>

namespace hf {

namespace detail {
/// `void`; like the traits below for short diagnostics where std's concepts would unfold.
template <class R>
concept is_void = std::is_void_v<R>;
}  // namespace detail

/// Something that performs HTTP/1.1 requests.
///
/// `send(request, sink)` must keep these rules; `tests/conformance/transport` checks each of them.
///
/// 1. It returns after the whole body was delivered or the sink said stop; otherwise it throws
///    `hf::error` with `invalid_argument`, `unsupported`, `resolve_failed`, `connect_failed`,
///    `tls_failed`, `request_timed_out`, `connection_lost`, `cancelled` or `protocol_error`, and
///    `may_have_reached_peer()` tells whether any byte of the request may have reached the peer.
/// 2. A status >= 400 is an answer, not an error. 1xx heads are swallowed. Redirects are not
///    followed. Nothing is sent twice once a byte of it may have been processed.
/// 3. `send` may be called from several threads at once on one object; connections are kept alive
///    and pooled, those of one `connection_group` apart from those of another.
/// 4. An exception from the sink or from the body's reader ends the exchange and is rethrown
///    unchanged.
/// 5. `connect_timeout` bounds connecting, `stall_timeout` silence in both directions, `deadline`
///    the whole call; all three report `request_timed_out`. `stop` cancels.
/// 6. Bodies go out with `Content-Length`, never with `Expect: 100-continue`.
/// 7. `unix_socket` is honoured or refused with `errc::unsupported`.
/// 8. TLS verifies peer and host name, always, and sends SNI.
/// 9. Memory use does not grow with a body. Of the environment only the proxy variables
///    (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, and in capitals all but HTTP_PROXY)
///    are read.
/// 10. `localhost` and names below it are the loopback interface, without DNS; Host and SNI stay as
///    written. Loopback hosts and unix sockets never go through a proxy.
/// 11. Cancellation takes effect within 100 ms; while resolving or connecting a transport may take
///    until `connect_timeout`, if its traits say so.
/// 12. A method that is not a token, and CR, LF or NUL in a URL, a field's name or its value, are
///    `errc::invalid_argument`, and nothing is sent.
/// 13. Whatever a peer sends, `send` ends as in rule 1 (or 4), in bounded memory. A line of a head
///    above 64 KiB, more than 1,000 fields, and heads of more than 256 KiB, those of 1xx answers
///    included, are `protocol_error`; so are control bytes in a head, a field's name that is no
///    token, and lengths that contradict each other. Free: a line that ends with a bare LF, what
///    stands behind the digits of a chunk's size, and whether trailers above these limits are refused.
///
/// Not required: HTTP/2, cookies, decompression, credentials in URLs.
template <class T>
concept transport = std::is_move_constructible_v<T> && std::is_move_assignable_v<T> &&
    requires(T& t, http::request const& rq, http::response_sink& sink) {
  { t.send(rq, sink) } -> detail::is_void;
};

}  // namespace hf

#endif
