"""Country calling codes: which digits behind the `+` are the country's.

Source: ITU-T, list of E.164 assigned country codes, as libphonenumber 9.0 has it (a test compares), with
three codes that have no numbers in use: 379, 388, 991. No code begins with another one, so there is one way
to read a number. The number of national digits is that of the mobile numbers people have there, by
libphonenumber's examples: what a sample or a surrogate looks like, never a reason to refuse a number.
"""

from __future__ import annotations

from typing import Final

from vault.errors import ValueRefused

LONGEST_CODE: Final = 3  # digits

_USUAL: Final = {  # national digits: codes
    4: "690",
    5: "247 290 500 682",
    6: "298 299 376 508 672 681 687 688",
    7: "220 238 239 246 248 269 291 297 354 501 592 597 673 674 676 677 678 679 680 683 685 691 692 882 960",
    8: "45 47 53 65 95 216 222 223 226 227 228 230 232 235 236 241 252 253 257 266 267 268 350 356 357 359 "
    "370 371 372 373 374 378 382 383 386 387 389 502 503 504 505 506 507 509 591 598 599 670 675 686 689 800 "
    "808 852 853 855 961 965 968 973 974 975 976 993",
    9: "27 31 32 33 34 36 40 41 43 46 48 51 56 60 61 62 64 66 84 93 94 211 212 213 218 221 224 231 233 237 "
    "240 242 243 244 245 249 250 251 254 255 256 258 260 261 262 263 264 265 351 352 353 355 358 375 377 380 "
    "381 385 420 421 423 590 593 594 595 596 870 881 883 886 962 963 966 967 970 971 972 979 992 994 995 996 "
    "998",
    10: "1 7 20 30 39 44 52 57 58 63 81 82 90 91 92 98 225 229 234 379 388 850 856 880 964 977 991",
    11: "49 54 55 86 888",
    12: "878",
}

USUAL_LENGTH: Final = {code: length for length, codes in _USUAL.items() for code in codes.split()}
"""Code: how many national digits its numbers usually have."""


def country_code(digits: str) -> str:
    """The country calling code that a number begins with.

    Args:
        digits: the international number, without `+` and separators.

    Raises:
        ValueRefused: `value_format`, there is no country of that code.
    """
    for length in range(1, LONGEST_CODE + 1):
        if digits[:length] in USUAL_LENGTH:
            return digits[:length]
    raise ValueRefused("value_format")
