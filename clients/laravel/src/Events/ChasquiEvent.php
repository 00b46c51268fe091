<?php

// SPDX-License-Identifier: MIT

namespace Chasqui\Laravel\Events;

/** An event of its own name, "session.opened" for instance, which has no class here unless it is one of those below. */
class ChasquiEvent implements Told
{
    private const CLASSES = [
        'session.opened' => SessionOpened::class,
        'session.moved' => SessionMoved::class,
        'session.ended' => SessionEnded::class,
        'job.finished' => JobFinished::class,
        'batch.finished' => BatchFinished::class,
        'portal.tripped' => PortalTripped::class,
        'portal.recovered' => PortalRecovered::class,
    ];

    /** @var string */
    public $event;

    /** When it happened, RFC 3339; a batch's callback does not say it. @var string|null */
    public $at;

    /** The whole body. @var array */
    public $payload;

    /** The same for each try of one delivery. @var string */
    public $delivery;

    public function __construct(array $payload, string $delivery)
    {
        $this->event = $payload['event'];
        $this->at = $payload['at'] ?? null;
        $this->payload = $payload;
        $this->delivery = $delivery;
    }

    public static function from(array $payload, string $delivery): self
    {
        $class = self::CLASSES[$payload['event']] ?? self::class;

        return new $class($payload, $delivery);
    }
}
