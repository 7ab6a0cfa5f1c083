#ifndef HF_SANDBOX_TESTS_SUPPORT_ODD_ANSWERS_HPP
#define HF_SANDBOX_TESTS_SUPPORT_ODD_ANSWERS_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

namespace hf::tests {

/// Hostile and odd HTTP answers: made from a grammar in which each part is sometimes wrong, then
/// partly mutated. The same seed gives the same answers everywhere (no std distributions).
class odd_answers {
 public:
  explicit odd_answers(std::uint64_t seed) : random_(seed) {}

  [[nodiscard]] std::vector<std::string> make(std::size_t count) {
    std::vector<std::string> out = fixed();
    while (out.size() < count) {
      auto answer = interim() + final_answer();
      out.push_back(below(3) == 0 ? mutated(std::move(answer)) : std::move(answer));
    }
    return out;
  }

 private:
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  template <std::size_t N>
  std::string one_of(char const* const (&&list)[N]) {
    return list[below(N)];
  }

  /// What was found to break a transport once, and the limits of heads from both sides.
  static std::vector<std::string> fixed() {
    std::string const a = "HTTP/1.1 200 OK\r\n";
    std::string const end = "Content-Length: 2\r\n\r\nok";
    std::string many = a;
    for (int i = 0; i < 1100; ++i)
      many += "X: y\r\n";
    std::string interim;
    for (int i = 0; i < 20000; ++i)
      interim += "HTTP/1.1 100 Continue\r\n\r\n";
    std::string total = a;
    for (int i = 0; i < 30; ++i)
      total += "X: " + std::string(10000, 'y') + "\r\n";
    std::string const chunked = a + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    return {
        "HTTP/1.1 200 " + std::string(60000, 'r') + "\r\n" + end,
        "HTTP/1.1 200 " + std::string(2000000, 'r') + "\r\n" + end,
        a + "X: " + std::string(9000, 'v') + "\r\n" + end,
        a + "X: " + std::string(60000, 'v') + "\r\n" + end,
        a + "X: " + std::string(66000, 'v') + "\r\n" + end,
        a + "X: " + std::string(120000, 'v') + "\r\n" + end,
        a + std::string(66000, 'n') + ": v\r\n" + end,
        a + "X: " + std::string(3000000, 'v'),
        many + end,
        total + end,
        interim + a + end,
        chunked + "X-Trailer: t\r\n\r\n",
        chunked + "X-Trailer: " + std::string(66000, 't') + "\r\n\r\n",
        chunked + std::string(3000000, 't'),
        a + "Transfer-Encoding: chunked\r\n\r\n2;" + std::string(3000000, 'e') + "\r\nok\r\n0\r\n\r\n",
        a + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok",
        a + "Content-Length: 99999999999999999999999\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nok",
        a + "X: %41%zz+%\r\nY:\r\n" + end,
        "",
        "\r\n\r\n",
        std::string(100000, '\0'),
        std::string(300000, 'A'),
    };
  }

  std::string line_end() { return below(20) == 0 ? "\n" : "\r\n"; }

  std::string interim() {
    std::string out;
    for (auto n = below(8) == 0 ? below(4) : 0; n > 0; --n)
      out += "HTTP/1.1 " + one_of({"100 Continue", "102 Processing", "103 Early Hints"}) + "\r\n" +
             (below(2) == 0 ? "Link: </a>\r\n" : "") + "\r\n";
    return out;
  }

  std::string status_line() {
    if (below(12) == 0)
      return one_of({"HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 abc OK", "ICY 200 OK", "HTTP/1.1",
                     "HTTP/1.1 2000 OK", "HTTP/1.1  200 OK", "http/1.1 200 OK", "HTTP/1.1 099 Low",
                     "HTTP/1.1 -20 OK", "HTTP/1.2 200 OK", "HTTP/1.1\t200 OK", " HTTP/1.1 200 OK"}) +
             line_end();
    auto const version = one_of({"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"});
    auto const status = one_of({"200", "200", "200", "201", "204", "206", "301", "304", "404", "418",
                                "500", "599", "600", "999"});
    return version + " " + status + one_of({" OK", " OK", " ", " a b c", " \xc3\xa9t\xc3\xa9"}) +
           line_end();
  }

  std::string field() {
    return one_of({"Content-Type: text/plain", "X-Empty:", "X-Blank:   ", "X-Tab:\tv", "X:no-space",
                   "Server: a (b) c", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Percent: %41%zz%",
                   "X-Latin: \xe9", "X-Trail: v  \t", "Date: now", "X-Colon: a:b:c",
                   "X-Long: 0123456789012345678901234567890123456789", "Connection: keep-alive"}) +
           line_end();
  }

  std::string bad_field() {
    return one_of({"no colon", ": no name", "bad name: v", "X : v", "X\x01: v", "X: a\x01z",
                   "X: a\rb", "\x7f: v", "X: \x7f", "(x): v"}) +
           line_end();
  }

  std::string final_answer() {
    auto out = status_line();
    for (auto n = below(5); n > 0; --n)
      out += field();
    if (below(12) == 0)
      out += bad_field();
    std::string const body(below(40), 'b');
    switch (below(9)) {
      case 0:
        return out + "\r\n" + body;
      case 1:
        return out + "Content-Length: " + std::to_string(body.size() + below(3)) + "\r\n\r\n" + body;
      case 2:
        return out + "Content-Length: " +
               one_of({"-1", "+3", "0x3", "3 3", "3, 3", "", "3,4", "1e1", "18446744073709551616"}) +
               "\r\n\r\n" + body;
      case 3:
        return out + "Content-Length: 3\r\nContent-Length: " + one_of({"3", "4"}) + "\r\n\r\nabc";
      case 4:
      case 5:
        return out + "Transfer-Encoding: chunked\r\n\r\n" + chunks(body);
      default:
        return out + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
  }

  std::string chunks(std::string const& body) {
    std::string out;
    for (std::size_t at = 0; at < body.size();) {
      auto const n = 1 + below(body.size() - at);
      char size[20];
      std::snprintf(size, sizeof size, "%zx", n);
      out += size;
      if (below(6) == 0)
        out += one_of({";a", ";a=b", ";a=\"b c\""});
      if (below(40) == 0)
        out += one_of({"g", " 1", "-", "\0"});
      out += "\r\n" + body.substr(at, n) + "\r\n";
      at += n;
    }
    out += one_of({"0\r\n", "0\r\n", "0\r\n", "000\r\n", "0;x=y\r\n", ""});
    if (below(4) == 0)
      out += "X-Trailer: t\r\n";
    return out + (below(10) == 0 ? "" : "\r\n");
  }

  std::string mutated(std::string text) {
    for (auto n = 1 + below(3); n > 0 && !text.empty(); --n) {
      auto const at = below(text.size());
      switch (below(5)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, 1 + below(4));
          break;
        case 2:
          text.insert(at, 1 + below(4), static_cast<char>(below(256)));
          break;
        case 3:
          text.resize(at);
          break;
        default:
          text.insert(at, text.substr(below(text.size()), below(16)));
          break;
      }
    }
    return text;
  }

  std::mt19937_64 random_;
};

}  // namespace hf::tests

#endif
