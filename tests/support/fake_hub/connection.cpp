#include "support/fake_hub/connection.hpp"

#include <hf/sandbox/http/url.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace hf::testing_support::fake {

void connection::close() {
  if (fd_ >= 0)
    ::close(fd_);
  fd_ = -1;
}

void connection::reset() {
  linger const now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

std::optional<std::string> connection::read_head() {
  for (std::size_t from = 0;;) {
    if (auto const end = buffer_.find("\r\n\r\n", from); end != std::string::npos) {
      std::string head = buffer_.substr(0, end + 2);
      buffer_.erase(0, end + 4);
      return head;
    }
    from = buffer_.size() < 3 ? 0 : buffer_.size() - 3;
    if (buffer_.size() > 256 * 1024)
      return std::nullopt;
    char bytes[16384];
    auto const got = ::recv(fd_, bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return std::nullopt;
    buffer_.append(bytes, static_cast<std::size_t>(got));
  }
}

std::size_t connection::read_some(char* to, std::size_t size) {
  if (!buffer_.empty()) {
    auto const taken = (std::min)(size, buffer_.size());
    std::copy_n(buffer_.data(), taken, to);
    buffer_.erase(0, taken);
    return taken;
  }
  for (;;) {
    auto const got = ::recv(fd_, to, size, 0);
    if (got < 0 && errno == EINTR)
      continue;
    return got <= 0 ? 0 : static_cast<std::size_t>(got);
  }
}

bool connection::read_exactly(std::string& to, std::size_t size) {
  to.resize(size);
  for (std::size_t at = 0; at < size;) {
    auto const got = read_some(to.data() + at, size - at);
    if (got == 0)
      return false;
    at += got;
  }
  return true;
}

bool connection::write(std::string_view data) {
  while (!data.empty()) {
    auto const sent = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    if (sent <= 0)
      return false;
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool connection::peer_gone() const {
  char byte = 0;
  auto const got = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

std::optional<head> parse_head(std::string const& text) {
  head out;
  bool first = true;
  for (std::size_t at = 0; at < text.size();) {
    auto const end = text.find("\r\n", at);
    if (end == std::string::npos)
      return std::nullopt;
    std::string const line = text.substr(at, end - at);
    at = end + 2;
    if (first) {
      out.first = line;
      first = false;
      continue;
    }
    auto const colon = line.find(':');
    if (colon == std::string::npos || colon == 0 || line[0] == ' ' || line[0] == '\t' ||
        line[colon - 1] == ' ')
      return std::nullopt;
    auto value = line.substr(colon + 1);
    value.erase(0, value.find_first_not_of(" \t") == std::string::npos
                       ? value.size()
                       : value.find_first_not_of(" \t"));
    value.erase(value.find_last_not_of(" \t") + 1);
    out.fields.add(line.substr(0, colon), value);
  }
  return first ? std::nullopt : std::optional<head>(out);
}

std::optional<request> parse_request(head const& from) {
  auto const a = from.first.find(' ');
  auto const b = from.first.rfind(' ');
  if (a == std::string::npos || a == b || from.first.substr(b + 1) != "HTTP/1.1")
    return std::nullopt;
  request out;
  out.method = from.first.substr(0, a);
  out.target = from.first.substr(a + 1, b - a - 1);
  out.fields = from.fields;
  out.host = std::string(from.fields.get("Host"));
  if (out.host.empty() || out.target.empty() || out.target[0] != '/')
    return std::nullopt;
  auto const question = out.target.find('?');
  out.path = out.target.substr(0, question);
  if (question != std::string::npos) {
    std::string const query = out.target.substr(question + 1);
    for (std::size_t at = 0; at <= query.size();) {
      auto const end = (std::min)(query.find('&', at), query.size());
      auto const item = query.substr(at, end - at);
      auto const equals = item.find('=');
      try {
        out.query.emplace_back(http::decode_component(item.substr(0, equals)),
                               equals == std::string::npos
                                   ? std::string()
                                   : http::decode_component(item.substr(equals + 1)));
      } catch (std::exception const&) {
        return std::nullopt;
      }
      at = end + 1;
    }
  }
  return out;
}

std::optional<std::uint64_t> content_length(http::headers const& fields) {
  auto const text = fields.get("Content-Length");
  std::uint64_t out = 0;
  auto const parsed = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    return std::nullopt;
  return out;
}

std::size_t chunk_tracker::feed(std::string_view data) {
  std::size_t at = 0;
  while (at < data.size() && state_ != state::done) {
    if (state_ == state::data) {
      auto const taken = (std::min<std::uint64_t>)(left_, data.size() - at);
      at += static_cast<std::size_t>(taken);
      left_ -= taken;
      if (left_ == 0)
        state_ = state::data_end;
      continue;
    }
    char const c = data[at++];
    if (c != '\n') {
      if (c != '\r')
        line_ += c;
      continue;
    }
    if (state_ == state::data_end) {
      state_ = state::size;
    } else if (state_ == state::size) {
      left_ = 0;
      std::from_chars(line_.data(), line_.data() + line_.size(), left_, 16);
      state_ = left_ == 0 ? state::trailer : state::data;
    } else if (line_.empty()) {
      state_ = state::done;
    }
    line_.clear();
  }
  return at;
}

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 302:
      return "Found";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 409:
      return "Conflict";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

}  // namespace hf::testing_support::fake
