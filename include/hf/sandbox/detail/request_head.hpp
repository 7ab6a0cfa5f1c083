#ifndef HF_SANDBOX_DETAIL_REQUEST_HEAD_HPP
#define HF_SANDBOX_DETAIL_REQUEST_HEAD_HPP

#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>

#include <string>

namespace hf::detail {

/// The bytes of a request's head. `proxy_authorization` is for requests that go to a proxy whole;
/// `absolute` puts the whole URL on the request line, as a proxy wants it.
template <class = void>
[[nodiscard]] std::string request_head(http::request const& rq, http::url const& target,
                                       std::string const& user_agent, bool absolute,
                                       std::string const& proxy_authorization) {
  std::string out;
  out.reserve(256);
  out += rq.method;
  out += ' ';
  if (absolute)
    out += target.origin();
  out += target.target;
  out += " HTTP/1.1\r\nHost: ";
  out += target.authority();
  out += "\r\n";
  auto const add = [&](std::string const& name, std::string const& value) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  };
  for (auto const& field : rq.fields)
    add(field.name, field.value);
  if (!user_agent.empty() && !rq.fields.contains("User-Agent"))
    add("User-Agent", user_agent);
  if (!proxy_authorization.empty() && !rq.fields.contains("Proxy-Authorization"))
    add("Proxy-Authorization", proxy_authorization);
  if (rq.body.present() || announces_empty_body(rq))
    add("Content-Length", std::to_string(rq.body.size()));
  out += "\r\n";
  return out;
}

}  // namespace hf::detail

#endif
