/* Time.
 *
 * RFC 3339 is read and written here by arithmetic alone: timegm and strftime look at the time zone and the
 * locale of the host program, and strptime accepts what RFC 3339 does not. The calendar is the proleptic
 * Gregorian one, counted in days from 1970-01-01; years are taken to begin in March, so that the leap day is
 * the last day of a year and month lengths follow one formula. A leap second (23:59:60 UTC) is read as the
 * second after it, as POSIX time has no number for it. */
#include "clock.h"

#include <stdio.h>
#include <time.h>

enum { CLOCK_DAY_S = 86400 };
static const int64_t clock_first_ms = INT64_C(-62135596800000); /* 0001-01-01T00:00:00Z */
static const int64_t clock_last_ms = INT64_C(253402300799999);  /* 9999-12-31T23:59:59.999Z */

static int64_t clock_system_mono(void *ctx) {
    (void)ctx;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t clock_system_wall(void *ctx) {
    (void)ctx;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

const clock_ops clock_system = {.mono_ns = clock_system_mono, .wall_ms = clock_system_wall};

/* Days from 1970-01-01 to a date of the years 1..9999. */
static int64_t clock_days_from_date(int year, int month, int day) {
    int y = month <= 2 ? year - 1 : year;
    int m = month <= 2 ? month + 9 : month - 3; /* March is 0 */
    int64_t to_march_first = (int64_t)y * 365 + y / 4 - y / 100 + y / 400;
    return to_march_first + (153 * m + 2) / 5 + day - 1 - 719468; /* 719468: 0000-03-01 to 1970-01-01 */
}

static void clock_date_from_days(int64_t days, int *year, int *month, int *day) {
    int64_t since = days + 719468;                         /* days since 0000-03-01; >= 0 for year 1 and later */
    int64_t era = since / 146097, in_era = since % 146097; /* an era is 400 years */
    int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (y * 365 + y / 4 - y / 100);
    int64_t m = (5 * in_year + 2) / 153;
    *day = (int)(in_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(era * 400 + y + (m >= 10 ? 1 : 0));
}

static bool clock_is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int clock_month_days(int year, int month) {
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && clock_is_leap(year) ? 29 : days[month - 1];
}

/* Reads exactly `count` digits at *at and moves on. */
static bool clock_digits(const char **at, int count, int *value) {
    int v = 0;
    for (int i = 0; i < count; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9') return false;
        v = v * 10 + (c - '0');
    }
    *at += count;
    *value = v;
    return true;
}

static bool clock_char(const char **at, char upper, char lower) {
    if (**at != upper && **at != lower) return false;
    (*at)++;
    return true;
}

/* ".123456": any number of digits, cut to milliseconds; none is no fraction. */
static bool clock_fraction(const char **at, int *ms) {
    *ms = 0;
    if (**at != '.') return true;
    (*at)++;
    int digit, count = 0;
    for (int weight = 100; clock_digits(at, 1, &digit); weight /= 10, count++) *ms += digit * weight;
    return count > 0;
}

/* "Z" or "+02:00", in seconds east of UTC. */
static bool clock_offset(const char **at, int *seconds) {
    *seconds = 0;
    if (clock_char(at, 'Z', 'z')) return true;
    int sign = **at == '+' ? 1 : -1, hours, minutes;
    if (!clock_char(at, '+', '-') || !clock_digits(at, 2, &hours) || !clock_char(at, ':', ':') ||
        !clock_digits(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool clock_date(const char **at, int64_t *days) {
    int year, month, day;
    if (!clock_digits(at, 4, &year) || !clock_char(at, '-', '-') || !clock_digits(at, 2, &month) ||
        !clock_char(at, '-', '-') || !clock_digits(at, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > clock_month_days(year, month)) return false;
    *days = clock_days_from_date(year, month, day);
    return true;
}

bool clock_parse_rfc3339(const char *text, int64_t *wall_ms) {
    const char *at = text;
    int64_t days;
    int hour = 0, minute = 0, second = 0, ms = 0, offset = 0;
    if (!clock_date(&at, &days)) return false;
    if (*at != '\0') {
        if (!clock_char(&at, 'T', 't') || !clock_digits(&at, 2, &hour) || !clock_char(&at, ':', ':') ||
            !clock_digits(&at, 2, &minute) || !clock_char(&at, ':', ':') || !clock_digits(&at, 2, &second) ||
            !clock_fraction(&at, &ms) || !clock_offset(&at, &offset) || *at != '\0')
            return false;
        if (hour > 23 || minute > 59 || second > 60) return false;
    }
    int64_t total = days * CLOCK_DAY_S + hour * 3600 + minute * 60 + second - offset;
    if (second == 60 && total % CLOCK_DAY_S != 0) /* a leap second ends a UTC day */
        return false;
    int64_t result = total * 1000 + ms;
    if (result < clock_first_ms || result > clock_last_ms) /* an offset may lead out of the years 1..9999 */
        return false;
    *wall_ms = result;
    return true;
}

void clock_format_rfc3339(int64_t wall_ms, char out[32]) {
    int64_t t = wall_ms < clock_first_ms ? clock_first_ms : wall_ms > clock_last_ms ? clock_last_ms : wall_ms;
    int64_t since_first = t - clock_first_ms; /* not negative, so that / and % round the way we want */
    int64_t day_ms = since_first % (CLOCK_DAY_S * INT64_C(1000));
    int year, month, day;
    clock_date_from_days((t - day_ms) / (CLOCK_DAY_S * INT64_C(1000)), &year, &month, &day);
    int ms = (int)(day_ms % 1000), second = (int)(day_ms / 1000 % 60), minute = (int)(day_ms / 60000 % 60);
    int hour = (int)(day_ms / 3600000);
    /* the remainders only show the compiler that the text fits */
    int n = snprintf(out, 32, "%04u-%02u-%02uT%02u:%02u:%02u", (unsigned)year % 10000, (unsigned)month % 100,
                     (unsigned)day % 100, (unsigned)hour % 100, (unsigned)minute % 100, (unsigned)second % 100);
    if (ms != 0)
        snprintf(out + n, 32 - (size_t)n, ".%03uZ", (unsigned)ms % 1000);
    else
        snprintf(out + n, 32 - (size_t)n, "Z");
}
